"""Opening a database by its location, and the settings that a SQLite file is opened with."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from homeserver.clock import SystemClock
from homeserver.protocol.errors import Unavailable
from homeserver.storage import sqlite_connection
from homeserver.storage.database import Database, InputOutputFailed, Transaction
from homeserver.storage.opening import open_database
from homeserver.storage.sqlite import READERS, SqliteDatabase
from tests.support.databases import ON_ALL_DRIVERS, ONLY_SQLITE


async def test_a_database_is_found_by_its_location(database: Database, database_engine: str) -> None:
    assert database.dialect == database_engine
    assert database.position == 0


@ON_ALL_DRIVERS
async def test_numbers_are_numbers_on_every_engine(database: Database) -> None:
    row = await database.fetch_one(
        "SELECT COUNT(*), SUM(position), AVG(position), SUM(CAST(? AS BIGINT)) FROM stream", (3,)
    )
    assert row == (1, 0, 0, 3)
    assert type(row) is tuple
    assert all(type(value) in (int, float) for value in row)


async def test_position_is_what_the_database_says_after_opening_again(
    database: Database, database_location: str
) -> None:
    async def job(txn: Transaction) -> int:
        txn.next_position()
        return txn.next_position()

    assert await database.write(job) == 2
    again = await open_database(database_location, SystemClock())
    assert again.position == 2
    await again.close()
    await again.close()  # twice does no harm


@ONLY_SQLITE
async def test_sqlite_is_durable_private_and_small(database: SqliteDatabase, database_location: str) -> None:
    async def job(txn: Transaction) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "mmap_size", "cache_size")
        return [await txn.fetch_value(f"PRAGMA {name}") for name in names]

    assert await database.write(job) == ["wal", 2, 1, 10_000, 0, -8192]
    assert await database.fetch_value("PRAGMA query_only") == 1  # readers cannot write


@ONLY_SQLITE
async def test_a_new_sqlite_file_belongs_to_its_owner_alone_and_closing_leaves_one_file(
    database_engine: str, tmp_path: Path
) -> None:
    path = tmp_path / "new.db"
    database = await open_database(f"sqlite:///{path}", SystemClock())

    async def job(txn: Transaction) -> int:
        return txn.next_position()

    await database.write(job)
    files = sorted(os.listdir(tmp_path))
    assert files == ["new.db", "new.db-shm", "new.db-wal"]
    assert {stat.S_IMODE(os.stat(tmp_path / file).st_mode) for file in files} == {0o600}
    await database.close()
    assert os.listdir(tmp_path) == ["new.db"]


@ONLY_SQLITE
async def test_reading_goes_on_while_a_transaction_is_open(database: SqliteDatabase) -> None:
    seen: list[object] = []

    async def job(txn: Transaction) -> None:
        await txn.execute("UPDATE stream SET position = position")
        txn.next_position()
        seen.append(await database.fetch_value("SELECT position FROM stream"))

    await database.write(job)
    assert seen == [0]
    assert await database.fetch_value("SELECT position FROM stream") == 1


@ONLY_SQLITE
async def test_readers_are_opened_when_needed_and_never_more_than_a_few(database: SqliteDatabase) -> None:
    assert len(database._readers) == 0
    await database.fetch_value("SELECT 1")
    await database.fetch_value("SELECT 1")
    assert len(database._readers) == 1
    assert await asyncio.gather(*(database.fetch_value("SELECT 1") for _ in range(20))) == [1] * 20
    assert len(database._readers) == READERS


@ONLY_SQLITE
async def test_the_write_ahead_log_does_not_grow_for_ever(
    database: SqliteDatabase, database_location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homeserver.storage.sqlite.CHECKPOINT_EVERY", 50)
    monkeypatch.setattr("homeserver.storage.sqlite.LONGEST_LOG", 200)

    async def create(txn: Transaction) -> None:
        await txn.execute("CREATE TABLE pages (id BIGINT PRIMARY KEY, data BLOB)")

    async def write(txn: Transaction) -> None:
        position = txn.next_position()
        for number in range(10):
            txn.add("INSERT INTO pages (id, data) VALUES (?, ?)", (position * 10 + number, bytes(3000)))

    await database.write(create)
    for _ in range(200):
        await database.write(write)
    written = 200 * 10 * 4096
    assert os.stat(f"{database_location}-wal").st_size < written / 4


async def test_what_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be opened"):
        await open_database(str(tmp_path / "missing" / "halfdoor.db"), SystemClock())
    with pytest.raises(Unavailable, match="cannot be reached"):
        await open_database(f"postgresql://nobody@/nothing?host={tmp_path}", SystemClock())
    (tmp_path / "text.db").write_text("This is a text, and no database at all. " * 200)
    with pytest.raises(InputOutputFailed, match="not a database"):
        await open_database(str(tmp_path / "text.db"), SystemClock())


def test_sqlite_users_do_not_pay_for_asyncpg() -> None:
    code = (
        "import asyncio, sys, tempfile\n"
        "from homeserver.clock import SystemClock\n"
        "from homeserver.storage.opening import open_database\n"
        "async def main():\n"
        "    await (await open_database(tempfile.mkdtemp() + '/x.db', SystemClock())).close()\n"
        "asyncio.run(main())\n"
        "assert 'asyncpg' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (13, Unavailable),  # FULL
        (5, Unavailable),  # BUSY
        (10 | 19 << 8, Unavailable),  # IOERR_SHMSIZE
        (10 | 4 << 8, InputOutputFailed),  # IOERR_FSYNC
        (10 | 3 << 8, InputOutputFailed),  # IOERR_WRITE
        (11, InputOutputFailed),  # CORRUPT
    ],
)
def test_errors_of_sqlite_are_told_apart(code: int, kind: type[Unavailable]) -> None:
    error = sqlite3.OperationalError("said SQLite")
    error.sqlite_errorcode = code
    assert type(sqlite_connection.translate(error)) is kind
