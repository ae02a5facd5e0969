"""Halfdoor as a process of its own on a temporary configuration, for end-to-end tests, crash tests and benchmarks.

with halfdoor(directory) as server:
    alice = server.register("alice")
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from signedjson.key import generate_signing_key, write_signing_keys

from tests.support.server_process import ServerProcess, free_port

REPOSITORY = Path(__file__).resolve().parents[2]


def halfdoor(
    directory: Path,
    *,
    database: str = "sqlite",
    server_name: str = "halfdoor.test",
    port: int = 0,
    settings: Mapping[str, Any] | None = None,
    command_prefix: Sequence[str] = (),
    python: Path | None = None,
) -> ServerProcess:
    """A Halfdoor that is configured and not yet started (use it as a context manager, or call `start`).

    The arguments are those of `tests.support.synapse.synapse`; `settings` replace whole top-level settings of the
    configuration; `python` is another environment's interpreter to run it with.
    """
    directory = directory.resolve()
    port = port or free_port()
    shared_secret = secrets.token_urlsafe(24)
    key_file = directory / "signing.key"
    if not key_file.exists():
        with key_file.open("w") as stream:
            write_signing_keys(stream, [generate_signing_key("a_test")])
        key_file.chmod(0o600)
    config = directory / "halfdoor.yaml"
    config.write_text(yaml.safe_dump({**_configuration(server_name, port, database), **(settings or {})}))
    interpreter = str(python or sys.executable)
    return ServerProcess(
        kind="halfdoor",
        command=[*command_prefix, interpreter, "-m", "homeserver", "serve", "--config", str(config)],
        port=port,
        server_name=server_name,
        shared_secret=shared_secret,
        directory=directory,
        environment={
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            "HALFDOOR_REGISTRATION_SHARED_SECRET": shared_secret,
        },
    )


def _configuration(server_name: str, port: int, database: str) -> dict[str, Any]:
    return {
        "server_name": server_name,
        "public_base_url": f"http://127.0.0.1:{port}/",
        "signing_key_file": "signing.key",
        "listeners": [{"host": "127.0.0.1", "port": port, "apis": ["client", "admin"]}],
        "database": {"sqlite_file": "halfdoor.db"} if database == "sqlite" else {"url": database},
        "registration": {"enabled": True, "open_without_verification": True},
        "rate_limits": {"enabled": False},
        "logging": {"format": "console", "level": "info"},
    }
