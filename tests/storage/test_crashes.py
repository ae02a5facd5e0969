"""kill -9 of writing processes at any moment: what was acknowledged is there, once, at its position."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import sys

import pytest

from homeserver.clock import SystemClock
from homeserver.storage.database import Database, Transaction
from homeserver.storage.opening import open_database
from tests.support.databases import ONLY_POSTGRESQL
from tests.support.postgresql import PostgresServer

pytestmark = pytest.mark.end_to_end  # processes that write, and are killed


@pytest.fixture
async def ledger(database: Database) -> Database:
    async def create(txn: Transaction) -> None:
        await txn.execute(
            "CREATE TABLE ledger (position BIGINT PRIMARY KEY, writer TEXT NOT NULL, number BIGINT NOT NULL)"
        )
        await txn.execute("CREATE TABLE latest (writer TEXT PRIMARY KEY, number BIGINT NOT NULL)")

    await database.write(create)
    return database


async def start_writer(location: str, name: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.storage.crashing_writer", location, name, stdout=asyncio.subprocess.PIPE
    )


async def read_acknowledged(process: asyncio.subprocess.Process, lines: int) -> list[tuple[int, str, int]]:
    """At least `lines` acknowledgements, then whatever had been said when the process was killed."""
    assert process.stdout is not None
    heard = b""
    while heard.count(b"\n") < lines:
        part = await process.stdout.read(65536)
        assert part, "the writer ended by itself"
        heard += part
    process.send_signal(signal.SIGKILL)
    heard += await process.stdout.read()
    await process.wait()
    whole = heard[: heard.rfind(b"\n")].decode().splitlines()
    return [(int(position), writer, int(number)) for position, writer, number in (line.split() for line in whole)]


async def check_ledger(database: Database, acknowledged: list[tuple[int, str, int]]) -> None:
    rows = await database.fetch_all("SELECT position, writer, number FROM ledger ORDER BY position")
    assert set(acknowledged) <= set(rows)
    counter = await database.fetch_value("SELECT position FROM stream")
    assert [position for position, _, _ in rows] == list(range(1, counter + 1))  # no gap, nothing twice
    newest: dict[str, int] = {}
    for _, writer, number in rows:
        assert number == newest.get(writer, 0) + 1  # each writer's in its order
        newest[writer] = number
    assert dict(await database.fetch_all("SELECT writer, number FROM latest")) == newest  # batches are whole


async def test_what_was_acknowledged_before_a_kill_is_there_after_it(ledger: Database, database_location: str) -> None:
    chance = random.Random(4)
    acknowledged: list[tuple[int, str, int]] = []
    for cycle in range(5):
        process = await start_writer(database_location, f"process{cycle}")
        acknowledged += await read_acknowledged(process, chance.randrange(1, 800))
        await check_ledger(ledger, acknowledged)
    again = await open_database(database_location, SystemClock())
    await check_ledger(again, acknowledged)
    await again.close()
    if ledger.dialect == "sqlite":
        connection = sqlite3.connect(database_location)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


async def test_two_processes_share_one_stream_without_gaps(ledger: Database, database_location: str) -> None:
    seen: list[tuple[int, int]] = []
    ledger.on_foreign_position(lambda old, new: seen.append((old, new)))
    processes = [await start_writer(database_location, name) for name in ("left", "right")]
    heard = await asyncio.gather(*(read_acknowledged(process, 300) for process in processes))
    await ledger.refresh_position()
    await check_ledger(ledger, [*heard[0], *heard[1]])
    assert seen[-1][1] == ledger.position == await ledger.fetch_value("SELECT MAX(position) FROM ledger")


@ONLY_POSTGRESQL
async def test_what_was_acknowledged_before_postgresql_crashed_is_there_after_it(database_engine: str) -> None:
    server = PostgresServer()
    try:
        server.start()
        database = await open_database(server.url(), SystemClock())

        async def create(txn: Transaction) -> None:
            await txn.execute("CREATE TABLE ledger (position BIGINT PRIMARY KEY, writer TEXT, number BIGINT)")
            await txn.execute("CREATE TABLE latest (writer TEXT PRIMARY KEY, number BIGINT NOT NULL)")

        await database.write(create)
        process = await start_writer(server.url(), "process")
        acknowledged = await read_acknowledged(process, 200)
        server.stop(signal.SIGKILL)
        server.start()
        await check_ledger(database, acknowledged)
        await database.close()
    finally:
        server.remove()
