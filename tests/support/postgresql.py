"""A PostgreSQL of our own for a test run: Debian's packages, a temporary directory, a socket, a port of its own."""

from __future__ import annotations

import functools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

BINARIES = Path("/usr/lib/postgresql")
START_SECONDS = 60
SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_wal_size": "256MB",
    "log_min_messages": "warning",
}
HASTY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off", "jit": "off"}
"""Settings for a server whose data nobody needs when the machine goes down."""


class NoPostgresql(RuntimeError):
    """PostgreSQL is not installed, and we may not install it."""


@functools.cache
def find_binaries() -> Path:
    """The newest installed PostgreSQL's programs; installs Debian's package where there is none and we are root."""
    if not _installed():
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise NoPostgresql("PostgreSQL is needed for these tests: apt-get install postgresql")
        print("installing PostgreSQL (apt-get install postgresql) for the tests", flush=True)  # noqa: T201
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        own_clusters = Path("/etc/postgresql-common/createcluster.d")
        own_clusters.mkdir(parents=True, exist_ok=True)
        (own_clusters / "no-main-cluster.conf").write_text("create_main_cluster = false\n")
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "postgresql"]):
            subprocess.run(["apt-get", *command], check=True, env=environment, stdout=subprocess.DEVNULL)
    found = _installed()
    if not found:
        raise NoPostgresql("apt-get install postgresql brought no /usr/lib/postgresql/*/bin/initdb")
    return found[-1]


def _installed() -> list[Path]:
    """Folders with a server's programs, oldest version first."""
    folders = [path.parent for path in BINARIES.glob("*/bin/initdb") if (path.parent / "postgres").exists()]
    return sorted(folders, key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0))


class PostgresServer:
    """One server. `start()` and `stop()` may be repeated on the same data; `remove()` ends it for good. A hasty one
    does not wait for the disk."""

    def __init__(self, *, is_hasty: bool = False) -> None:
        self._settings = {**SETTINGS, **HASTY} if is_hasty else SETTINGS
        self._binaries = find_binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="halfdoor-postgresql-"))
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._port = _free_port()
        self._as_owner = _as_postgres() if os.geteuid() == 0 else []
        if self._as_owner:
            owner = pwd.getpwnam("postgres")
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        os.chmod(self._folder, 0o755)
        self._run(
            "initdb",
            *("-D", str(self._data), "-U", "halfdoor", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"),
        )

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://halfdoor@/{database}?host={self._folder}&port={self._port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it answers. After a SIGKILL it refuses until its former children have noticed."""
        deadline = time.monotonic() + START_SECONDS
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", str(self._folder), "-p", str(self._port)]
        self._process = self._spawn()
        while subprocess.run(ready, check=False).returncode != 0:
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
            if self._process.poll() is not None:
                self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [
                    *self._as_owner,
                    str(self._binaries / "postgres"),
                    *("-D", str(self._data), "-p", str(self._port), "-k", str(self._folder)),
                    *options,
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self._folder,
            )

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: the fast shutdown; SIGQUIT, SIGKILL: as a crash, so that the next start recovers."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_owner, str(self._binaries / program), *arguments]
        done = subprocess.run(command, capture_output=True, check=False, cwd=self._folder)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.decode()}")


def _as_postgres() -> list[str]:
    """A PostgreSQL server refuses to be root; it also ends when we do, however that happens."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "QUIT", "--"]


def _free_port() -> int:
    """Only a part of the socket's file name, but a unique one is easier to tell apart."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
