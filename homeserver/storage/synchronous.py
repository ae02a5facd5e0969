"""SQLite on the caller's own thread, for unit tests and the deterministic simulation.

A database thread answers whenever it likes; here nothing really waits, so a run with one seed is the same every time.
It is the wrong driver for a server: a slow disk would stop the whole loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Literal

from homeserver.clock import Clock
from homeserver.storage import sqlite_connection
from homeserver.storage.batch import Engine, Group
from homeserver.storage.database import ForeignListener, Job, Params, Row, T
from homeserver.storage.migrating import Migration, migrate_sqlite
from homeserver.storage.writer import Writer


class SynchronousEngine:
    """`Engine` that never waits."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def begin(self) -> int:
        return sqlite_connection.begin(self._connection)

    async def fetch(self, sql: str, params: Params) -> list[Row]:
        return sqlite_connection.fetch(self._connection, sql, params)

    async def execute(self, sql: str, params: Params) -> int:
        return sqlite_connection.execute(self._connection, sql, params)

    async def run(self, groups: Sequence[Group]) -> None:
        sqlite_connection.run(self._connection, groups)

    async def commit(self, groups: Sequence[Group], position: int) -> None:
        sqlite_connection.commit(self._connection, groups, position)

    async def rollback(self) -> None:
        sqlite_connection.rollback(self._connection)


class SynchronousDatabase:
    """`Database` over one sqlite3 connection. `engine`: what writes, where a test wants to make it fail."""

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, connection: sqlite3.Connection, engine: Engine | None = None) -> None:
        self._connection = connection
        position = sqlite_connection.fetch(connection, sqlite_connection.READ_POSITION, ())[0][0]
        self._writer = Writer(engine or SynchronousEngine(connection), position, inline=True)

    @property
    def position(self) -> int:
        return self._writer.position

    async def write(self, job: Job[T]) -> T:
        return await self._writer.write(job)

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        return sqlite_connection.fetch(self._connection, sql, params)

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        rows = sqlite_connection.fetch(self._connection, sql, params)
        return rows[0] if rows else None

    async def fetch_value(self, sql: str, params: Params = ()) -> Any:
        row = await self.fetch_one(sql, params)
        return None if row is None else row[0]

    def on_foreign_position(self, listener: ForeignListener) -> None:
        self._writer.listen(listener)

    async def refresh_position(self) -> int:
        async with self._writer.between_batches():
            await self._writer.learn(await self.fetch_value(sqlite_connection.READ_POSITION))
        return self._writer.position

    async def close(self) -> None:
        await self._writer.close()
        self._connection.close()


def open_synchronous(path: str, clock: Clock, migrations: Sequence[Migration] | None = None) -> SynchronousDatabase:
    """Open and migrate the database at `path`, which may be ":memory:". Raises MigrationRefused, Unavailable."""
    connection = sqlite_connection.connect(path)
    try:
        migrate_sqlite(connection, clock.now_ms(), migrations)
        return SynchronousDatabase(connection)
    except sqlite3.Error as error:
        connection.close()
        raise sqlite_connection.translate(error) from error
    except BaseException:
        connection.close()
        raise
