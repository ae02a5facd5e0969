"""`python -m tests.end_to_end.fuzz --requests 200000 --database postgresql --seed 7`; ends with 1 after findings. With
`--as-servers`, what servers ask one another."""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from homeserver.clock import SystemClock
from homeserver.storage.opening import open_database
from tests.end_to_end.fuzz.federation_world import make_federation_world
from tests.end_to_end.fuzz.operations import operations
from tests.end_to_end.fuzz.run import WORKERS, Report, run
from tests.end_to_end.fuzz.server_requests import ask_as_server
from tests.end_to_end.fuzz.world import make_world
from tests.support.postgresql import PostgresServer


async def fuzz_as_servers(location: str, requests: int, seed: int, workers: int = WORKERS) -> Report:
    """A run on a fresh database, of requests between servers."""
    db = await open_database(location, SystemClock())
    try:
        world = await make_federation_world(db, seed)
        table = operations(world.routes, "server-server")
        try:
            return await run(world, requests, seed, workers=workers, table=table, ask=ask_as_server)
        finally:
            await world.server.close()
    finally:
        await db.close()


async def fuzz(location: str, folder: Path, requests: int, seed: int, workers: int = WORKERS) -> Report:
    """A run on a fresh database, of requests of clients."""
    db = await open_database(location, SystemClock())
    try:
        world = await make_world(db, folder)
        try:
            return await run(world, requests, seed, workers=workers)
        finally:
            await world.server.homeserver.close()
    finally:
        await db.close()


def _arguments() -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.fuzz")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--as-servers", action="store_true", help="ask what servers ask one another")
    parser.add_argument("--workers", type=int, default=WORKERS, help="requests at the same time")
    parser.add_argument("--table", action="store_true", help="print how often each operation had which status")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    logging.lastResort = None
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        server: PostgresServer | None = None
        location = str(folder / "halfdoor.db")
        if arguments.database == "postgresql":
            server = PostgresServer()
            server.start()
            location = server.url()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                asked = (arguments.requests, arguments.seed, arguments.workers)
                report = runner.run(
                    fuzz_as_servers(location, *asked) if arguments.as_servers else fuzz(location, folder, *asked)
                )
        finally:
            if server is not None:
                server.remove()
    print(report)  # noqa: T201
    if arguments.table:
        for name, statuses in sorted(report.statuses.items()):
            print(f"{name:55} {dict(sorted(statuses.items()))}")  # noqa: T201
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
