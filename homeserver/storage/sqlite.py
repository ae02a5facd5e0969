"""The embedded default: SQLite through aiosqlite, one connection that writes and a few that read.

Each connection lives on a thread of its own, and every hand-over to a thread and back costs more than most statements
do. So a whole step of the writer (BEGIN and the counter; all deferred rows, the counter and COMMIT) is one function
that runs there: aiosqlite queues such a function with `Connection._execute`, which all of its public methods consist
of. In WAL mode readers see the last commit and neither wait for the writer nor make it wait.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import aiosqlite

from homeserver.clock import Clock
from homeserver.protocol.errors import Unavailable
from homeserver.storage import sqlite_connection
from homeserver.storage.batch import Group
from homeserver.storage.database import ForeignListener, Job, Params, Row, T
from homeserver.storage.migrating import Migration, migrate_sqlite
from homeserver.storage.writer import CLOSED, Writer

READERS = 2
CHECKPOINT_EVERY = 1000
"""About how many pages are written between two checkpoints, which copy them from the log into the database."""
LONGEST_LOG = 4000
"""Pages in the log (of 4 KiB) from which on the writer itself waits for a checkpoint, so that the log ends growing."""

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


class Connection:
    """A sqlite3 connection on aiosqlite's thread. `busy`: functions queued or running there."""

    def __init__(self, inner: aiosqlite.Connection) -> None:
        self._inner = inner
        self.busy = 0

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call `function(sqlite3 connection, ...)` on the thread."""
        self.busy += 1
        try:
            result: R = await self._inner._execute(function, self._inner._conn, *args, **kwargs)  # type: ignore[no-untyped-call]
        except ValueError as error:
            if self._inner._connection is None:
                raise Unavailable(CLOSED) from error
            raise
        finally:
            self.busy -= 1
        return result

    async def close(self) -> None:
        await self._inner.close()


async def connect(path: str, *, read_only: bool = False) -> Connection:
    connector = partial(sqlite_connection.connect, path, read_only=read_only, checkpoints=False)
    return Connection(await aiosqlite.Connection(connector, iter_chunk_size=64))


class SqliteEngine:
    """`Engine` on the writing connection, and when the log is copied into the database."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._path = path
        # What a crash left in the log counts: a server that never lives long must copy it some time too.
        self._written = pages_in_log(path)
        self._log_is_long = False
        self._copying: asyncio.Task[None] | None = None
        self._copier: Connection | None = None

    async def begin(self) -> int:
        return await self._connection.run(sqlite_connection.begin)

    async def fetch(self, sql: str, params: Params) -> list[Row]:
        return await self._connection.run(sqlite_connection.fetch, sql, params)

    async def execute(self, sql: str, params: Params) -> int:
        self._written += 1
        return await self._connection.run(sqlite_connection.execute, sql, params)

    async def run(self, groups: Sequence[Group]) -> None:
        self._count(groups)
        await self._connection.run(sqlite_connection.run, groups)

    async def commit(self, groups: Sequence[Group], position: int) -> None:
        self._count(groups)
        await self._connection.run(sqlite_connection.commit, groups, position)
        if self._log_is_long:
            self._log_is_long = False
            await self._connection.run(checkpoint)
        elif self._written >= CHECKPOINT_EVERY and self._copying is None:
            self._written = 0
            self._copying = asyncio.create_task(self._checkpoint(), name="storage checkpoint")

    async def rollback(self) -> None:
        try:
            await self._connection.run(sqlite_connection.rollback)
        except Exception:
            logger.exception("ROLLBACK failed")

    async def close(self) -> None:
        if self._copying is not None:
            await asyncio.wait([self._copying])
        if self._copier is not None:
            await self._copier.close()
        await self._connection.close()

    def _count(self, groups: Sequence[Group]) -> None:
        """Estimate the pages written: neighbours share one, and each batch rewrites a few at least."""
        self._written += 2 + sum(min(len(rows), 20) for _, rows in groups)

    async def _checkpoint(self) -> None:
        """Copy on a connection of its own, so that nobody waits for it."""
        try:
            if self._copier is None:
                self._copier = await connect(self._path)
            pages = await self._copier.run(checkpoint)
            self._log_is_long = pages > LONGEST_LOG
        except Exception:
            logger.exception("The write-ahead log could not be copied into the database; it is tried again later")
        finally:
            self._copying = None


def pages_in_log(path: str) -> int:
    """How many pages the write-ahead log of the database at `path` may hold, by the size of its file."""
    try:
        return os.path.getsize(f"{path}-wal") // 4096
    except OSError:
        return 0


def checkpoint(connection: sqlite3.Connection) -> int:
    """Copy what can be copied without making anybody wait; the number of pages in the log."""
    pages: int = sqlite_connection.fetch(connection, "PRAGMA wal_checkpoint(PASSIVE)", ())[0][1]
    return pages


class SqliteDatabase:
    """`Database` over aiosqlite; see `open_sqlite`."""

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, path: str, connection: Connection, position: int) -> None:
        self._path = path
        self._engine = SqliteEngine(connection, path)
        self._writer = Writer(self._engine, position)
        self._readers: list[Connection] = []
        self._opening = asyncio.Lock()
        self._closed = False

    @property
    def position(self) -> int:
        return self._writer.position

    async def write(self, job: Job[T]) -> T:
        return await self._writer.write(job)

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        reader = await self._reader()
        return await reader.run(sqlite_connection.fetch, sql, params)

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        rows = await self.fetch_all(sql, params)
        return rows[0] if rows else None

    async def fetch_value(self, sql: str, params: Params = ()) -> Any:
        rows = await self.fetch_all(sql, params)
        return rows[0][0] if rows else None

    def on_foreign_position(self, listener: ForeignListener) -> None:
        self._writer.listen(listener)

    async def refresh_position(self) -> int:
        async with self._writer.between_batches():
            await self._writer.learn(await self.fetch_value(sqlite_connection.READ_POSITION))
        return self._writer.position

    async def close(self) -> None:
        """Write what is queued, then close; the last one to close a database leaves a single file behind."""
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        for reader in self._readers:
            await reader.close()
        await self._engine.close()

    async def _reader(self) -> Connection:
        """The least busy reading connection; a further one is opened when all are busy."""
        for reader in self._readers:
            if not reader.busy:
                return reader
        if len(self._readers) < READERS:
            async with self._opening:
                if self._closed:
                    raise Unavailable(CLOSED)
                if len(self._readers) < READERS:
                    self._readers.append(await connect(self._path, read_only=True))
        return min(self._readers, key=lambda reader: reader.busy)


async def open_sqlite(path: str, clock: Clock, migrations: Sequence[Migration] | None = None) -> SqliteDatabase:
    """Open, or create, and migrate the database file at `path`. Raises MigrationRefused, Unavailable."""
    try:
        sqlite_connection.create_private(path)
    except OSError as error:
        raise Unavailable(f"The database {path} cannot be opened: {error.strerror}.") from error
    connection = await connect(path)
    try:
        await connection.run(migrate_sqlite, clock.now_ms(), migrations)
        rows = await connection.run(sqlite_connection.fetch, sqlite_connection.READ_POSITION, ())
    except sqlite3.Error as error:
        await connection.close()
        raise sqlite_connection.translate(error) from error
    except BaseException:
        await connection.close()
        raise
    return SqliteDatabase(path, connection, rows[0][0])
