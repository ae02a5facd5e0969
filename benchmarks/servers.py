"""The servers under test: started, pinned to a core, stopped in their tracks while the other one is measured."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.halfdoor_process import halfdoor
from tests.support.postgresql import PostgresServer, find_binaries
from tests.support.server_process import ServerProcess, free_port
from tests.support.synapse import synapse

SERVER_CORE = 0
LOAD_CORE = 1
KINDS = {"halfdoor": halfdoor, "synapse": synapse}
# Synapse's configuration of the tests logs warnings only; Halfdoor must not get another task.
SETTINGS: dict[str, dict[str, Any]] = {"halfdoor": {"logging": {"level": "warning"}}, "synapse": {}}


def federation_settings(port: int, certificate: Path) -> dict[str, dict[str, Any]]:
    """What is added where servers are open to others: each answers them at its clients' port, trusts a certificate of
    this benchmark, may reach servers on this machine, and limits nobody."""
    local = ["127.0.0.0/8", "::1/128"]
    return {
        "halfdoor": {
            "listeners": [{"host": "127.0.0.1", "port": port, "apis": ["client", "admin", "federation"]}],
            "federation": {"enabled": True},
            "outbound": {"allowed_networks": local},
        },
        "synapse": {
            "listeners": [
                {
                    "port": port,
                    "bind_addresses": ["127.0.0.1"],
                    "type": "http",
                    "resources": [{"names": ["client", "federation"], "compress": False}],
                }
            ],
            "federation_custom_ca_list": [str(certificate)],
            "federation_domain_whitelist": None,
            "ip_range_blacklist": [],
            "ip_range_whitelist": local,
            "rc_federation": {
                "window_size": 1,
                "sleep_limit": 1_000_000,
                "sleep_delay": 1,
                "reject_limit": 1_000_000,
                "concurrent": 1_000,
            },
        },
    }


@dataclass
class Contestant:
    """A server that takes part."""

    kind: str
    process: ServerProcess
    first_start_seconds: float = 0.0

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Let it run only inside: a server that waits for its turn takes nothing from the other one."""
        os.kill(self.process.pid, signal.SIGCONT)
        time.sleep(0.3)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGSTOP)

    def stop(self) -> None:
        if self.process.process is not None:
            os.kill(self.process.pid, signal.SIGCONT)
            self.process.stop()


@contextlib.contextmanager
def contestants(kinds: list[str], database: str, certificate: Path | None = None) -> Iterator[list[Contestant]]:
    """The servers on that database (`sqlite` or `postgresql`), started one after another and put to sleep.

    `certificate`: they are open to other servers, and trust who has this."""
    with contextlib.ExitStack() as stack:
        postgresql = stack.enter_context(postgresql_on_server_core()) if database == "postgresql" else None
        taking_part = []
        for kind in kinds:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"halfdoor-benchmark-{kind}-")))
            url = "sqlite" if postgresql is None else make_database(postgresql, kind)
            pinned = ["taskset", "-c", str(SERVER_CORE)]
            port, settings, environment = free_port(), SETTINGS[kind], {}
            if certificate is not None:
                settings = {**settings, **federation_settings(port, certificate)[kind]}
                environment = {"SSL_CERT_FILE": str(certificate)}
            process = KINDS[kind](folder, database=url, port=port, settings=settings, command_prefix=pinned)
            process.environment = {**process.environment, **environment}
            contestant = Contestant(kind, process)
            stack.callback(contestant.stop)
            process.start()
            contestant.first_start_seconds = process.start_seconds
            os.kill(process.pid, signal.SIGSTOP)
            taking_part.append(contestant)
        yield taking_part


@contextlib.contextmanager
def postgresql_on_server_core() -> Iterator[PostgresServer]:
    """PostgreSQL shares the core of the server that uses it: "one core" is one core for both together."""
    server = PostgresServer()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVER_CORE})
    try:
        server.start()
    finally:
        os.sched_setaffinity(0, before)
    try:
        yield server
    finally:
        server.remove()


def make_database(server: PostgresServer, name: str) -> str:
    command = [str(find_binaries() / "psql"), server.url(), "-q", "-c", f"CREATE DATABASE {name}"]
    subprocess.run(command, check=True)
    return server.url(name)
