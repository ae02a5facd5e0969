"""The write-ahead log that crashes leave behind does not grow for ever."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from homeserver.storage.database import Transaction
from homeserver.storage.sqlite import CHECKPOINT_EVERY, open_sqlite, pages_in_log
from tests.support.clock import FakeClock


async def test_log_that_a_crash_left_is_copied_after_the_first_commit_of_the_next_run(tmp_path: Path) -> None:
    before, after = tmp_path / "before.db", tmp_path / "after.db"
    await (await open_sqlite(str(before), FakeClock())).close()
    with closing(sqlite3.connect(before, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        for number in range(CHECKPOINT_EVERY):
            connection.execute("INSERT INTO notes VALUES (?, ?)", (number, "x" * 4000))
        for suffix in ("", "-wal"):  # as they lie there when the process is killed now
            shutil.copy(f"{before}{suffix}", f"{after}{suffix}")
    assert pages_in_log(str(after)) > CHECKPOINT_EVERY
    size = after.stat().st_size

    db = await open_sqlite(str(after), FakeClock())

    async def add(txn: Transaction) -> None:
        txn.add("INSERT INTO notes VALUES (?, ?)", (CHECKPOINT_EVERY, "after the crash"))

    await db.write(add)
    copying = db._engine._copying
    assert copying is not None, "the log is not being copied"
    await asyncio.wait([copying])
    assert after.stat().st_size > size + CHECKPOINT_EVERY * 3000
    assert await db.fetch_value("SELECT COUNT(*) FROM notes") == CHECKPOINT_EVERY + 1
    await db.close()
