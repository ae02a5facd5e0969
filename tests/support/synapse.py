"""A real Synapse from PyPI beside us, the reference of the end-to-end tests, the comparison and the benchmarks.

    with synapse(directory) as server:
        alice = server.register("alice")

It is installed on demand into an environment of its own, `.cache/synapse-venv` (HALFDOOR_SYNAPSE_VENV names another).
It is AGPL software: it is run as a separate program, and nothing of it is copied or imported.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml

from tests.support.server_process import ServerProblem, ServerProcess, free_port

SYNAPSE_VERSION = "1.163.2"
PSYCOPG_VERSION = "2.9.13"
REPOSITORY = Path(__file__).resolve().parents[2]
UNLIMITED = {"per_second": 100_000, "burst_count": 1_000_000}


def synapse(
    directory: Path,
    *,
    database: str = "sqlite",
    server_name: str = "halfdoor.test",
    port: int = 0,
    settings: Mapping[str, Any] | None = None,
    command_prefix: Sequence[str] = (),
) -> ServerProcess:
    """A Synapse that is configured and not yet started (use it as a context manager, or call `start`).

    `directory` must exist and be empty or this server's own; `database` is `sqlite` or a `postgresql://` URL;
    `settings` are laid over the generated homeserver.yaml; `command_prefix` goes before the command (`taskset -c 1`).
    Raises `ServerProblem` when Synapse cannot be installed.
    """
    python = install_synapse()
    directory = directory.resolve()
    port = port or free_port()
    shared_secret = secrets.token_urlsafe(24)
    config = directory / "homeserver.yaml"
    config.write_text(yaml.safe_dump(_configuration(directory, database, server_name, port, shared_secret, settings)))
    (directory / "log.yaml").write_text(yaml.safe_dump(_logging(directory / "synapse-detail.log")))
    keys = [str(python), "-m", "synapse.app.homeserver", "--config-path", str(config), "--generate-keys"]
    _run(keys, "Synapse could not make its keys", cwd=directory)
    return ServerProcess(
        kind="synapse",
        command=[*command_prefix, str(python), "-m", "synapse.app.homeserver", "--config-path", str(config)],
        port=port,
        server_name=server_name,
        shared_secret=shared_secret,
        directory=directory,
        environment={"PYTHONUNBUFFERED": "1"},
    )


def install_synapse() -> Path:
    """The Python of an environment that has Synapse, made on the first call; raises `ServerProblem` if it fails."""
    home = Path(os.environ.get("HALFDOOR_SYNAPSE_VENV", REPOSITORY / ".cache" / "synapse-venv"))
    python = home / "bin" / "python"
    done = home / f"installed-{SYNAPSE_VERSION}"
    if done.exists():
        return python
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            if not python.exists():
                _run([sys.executable, "-m", "venv", str(home)], "No virtual environment could be made for Synapse")
            wanted = [f"matrix-synapse=={SYNAPSE_VERSION}", f"psycopg2-binary=={PSYCOPG_VERSION}"]
            install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted]
            _run(install, "Synapse could not be installed from PyPI (is the package index reachable?)")
            done.touch()
    return python


def _run(command: Sequence[str], complaint: str, cwd: Path | None = None) -> None:
    result = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
        raise ServerProblem(f"{complaint}: `{' '.join(command)}` ended with code {result.returncode}.\n{tail}")


def _configuration(
    directory: Path,
    database: str,
    server_name: str,
    port: int,
    shared_secret: str,
    settings: Mapping[str, Any] | None,
) -> dict[str, Any]:
    return {
        "server_name": server_name,
        "public_baseurl": f"http://127.0.0.1:{port}/",
        "pid_file": str(directory / "synapse.pid"),
        "listeners": [
            {
                "port": port,
                "bind_addresses": ["127.0.0.1"],
                "type": "http",
                "tls": False,
                "x_forwarded": False,
                "resources": [{"names": ["client"], "compress": False}],
            }
        ],
        "database": _database(directory, database),
        "log_config": str(directory / "log.yaml"),
        "media_store_path": str(directory / "media"),
        "signing_key_path": str(directory / "signing.key"),
        "report_stats": False,
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        "macaroon_secret_key": secrets.token_urlsafe(24),
        "form_secret": secrets.token_urlsafe(24),
        "registration_shared_secret": shared_secret,
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "bcrypt_rounds": 4,
        "default_room_version": "12",
        "room_list_publication_rules": [{"action": "allow"}],
        "allow_public_rooms_without_auth": True,
        "user_directory": {"enabled": True, "search_all_users": False},
        "federation_domain_whitelist": [],
        "experimental_features": {"msc4222_enabled": True},
        **_rate_limits(),
        **(settings or {}),
    }


def _rate_limits() -> dict[str, Any]:
    twice = {"local": UNLIMITED, "remote": UNLIMITED}
    thrice = {"address": UNLIMITED, "account": UNLIMITED, "failed_attempts": UNLIMITED}
    flat = [
        "rc_message",
        "rc_registration",
        "rc_registration_token_validity",
        "rc_admin_redaction",
        "rc_joins_per_room",
        "rc_3pid_validation",
        "rc_third_party_invite",
        "rc_media_create",
        "rc_key_requests",
        "rc_presence",
        "rc_delayed_event_mgmt",
        "rc_reports",
        "rc_room_creation",
        "rc_user_directory",
    ]
    return {
        **dict.fromkeys(flat, UNLIMITED),
        "rc_login": thrice,
        "rc_joins": twice,
        "rc_presence": {"per_user": UNLIMITED},
        "rc_invites": {"per_room": UNLIMITED, "per_user": UNLIMITED, "per_issuer": UNLIMITED},
    }


def _database(directory: Path, database: str) -> dict[str, Any]:
    if database == "sqlite":
        return {"name": "sqlite3", "args": {"database": str(directory / "homeserver.db")}}
    url = urlsplit(database)
    if url.scheme not in {"postgresql", "postgres"}:
        raise ServerProblem(f"Synapse's database is `sqlite` or a postgresql:// URL, not {url.scheme!r}.")
    query = dict(parse_qsl(url.query))  # a socket's folder is no host name: ?host=/folder&port=5432
    known = {
        "user": unquote(url.username or ""),
        "password": unquote(url.password or ""),
        "host": url.hostname or query.get("host"),
        "port": url.port or query.get("port"),
        "dbname": url.path.lstrip("/"),
    }
    arguments = {name: value for name, value in known.items() if value}
    return {"name": "psycopg2", "allow_unsafe_locale": True, "args": {**arguments, "cp_min": 5, "cp_max": 10}}


def _logging(file: Path) -> dict[str, Any]:
    return {
        "version": 1,
        "formatters": {"line": {"format": "%(asctime)s %(name)s %(levelname)s %(request)s %(message)s"}},
        "filters": {"context": {"()": "synapse.logging.context.LoggingContextFilter", "request": ""}},
        "handlers": {
            "file": {"class": "logging.FileHandler", "filename": str(file), "formatter": "line", "filters": ["context"]}
        },
        "root": {"level": "WARNING", "handlers": ["file"]},
        "disable_existing_loggers": False,
    }
