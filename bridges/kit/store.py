"""The kit's memory: one SQLite file through aiosqlite.

`transaction()` is the only way in: one at a time, all or nothing, on disk before it returns (WAL with FULL
synchronisation), so what was answered survives a crash. A network may keep tables of its own in the same file and write
them in the same transaction (`add_schema`). Unique indexes on remote ids, event ids and transaction ids are what makes
repeated deliveries harmless.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite

PENDING, DONE, FAILED = 0, 1, 2

SCHEMA = """
CREATE TABLE IF NOT EXISTS portals (chat TEXT PRIMARY KEY, room_id TEXT NOT NULL UNIQUE, created_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS ghosts (remote_id TEXT PRIMARY KEY, user_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS members (
    room_id TEXT NOT NULL, user_id TEXT NOT NULL, membership TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (room_id, user_id));
CREATE TABLE IF NOT EXISTS messages (
    chat TEXT NOT NULL, remote_id TEXT NOT NULL, event_id TEXT NOT NULL UNIQUE, sender TEXT NOT NULL,
    PRIMARY KEY (chat, remote_id));
CREATE TABLE IF NOT EXISTS transactions (txn_id TEXT PRIMARY KEY, received_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS incoming (
    position INTEGER PRIMARY KEY AUTOINCREMENT, chat TEXT NOT NULL, remote_id TEXT NOT NULL, body BLOB NOT NULL,
    state INTEGER NOT NULL DEFAULT 0, received_ms INTEGER NOT NULL, UNIQUE (chat, remote_id));
CREATE INDEX IF NOT EXISTS incoming_pending ON incoming (chat, position) WHERE state = 0;
CREATE TABLE IF NOT EXISTS outgoing (
    position INTEGER PRIMARY KEY AUTOINCREMENT, room_id TEXT NOT NULL, event_id TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL, state INTEGER NOT NULL DEFAULT 0, attempted INTEGER NOT NULL DEFAULT 0,
    received_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS outgoing_pending ON outgoing (room_id, position) WHERE state = 0;
"""
SCHEMA_VERSION = 1


class NewerDatabase(Exception):
    """The file was written by a newer version of this program; start that one, or restore a backup."""


class StoreUnavailable(Exception):
    """The file cannot be written at this moment, such as on a full disk, or is not open; nothing was changed."""


_PASSING = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
}


class Transaction:
    """Statements inside one transaction; rows are plain tuples."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; the number of rows it changed."""
        async with self._connection.execute(sql, parameters) as cursor:
            return cursor.rowcount

    async def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        async with self._connection.execute(sql, parameters) as cursor:
            return [tuple(row) for row in await cursor.fetchall()]

    async def row(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        found = await self.rows(sql, parameters)
        return found[0] if found else None

    async def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        found = await self.row(sql, parameters)
        return found[0] if found else None


class Store:
    """One open database file; ':memory:' forgets."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._connection: aiosqlite.Connection | None = None

    async def open(self) -> None:
        """Raises NewerDatabase, and sqlite3.DatabaseError when the file is no database."""
        connection = await aiosqlite.connect(self._path, isolation_level=None)
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
                await connection.execute(f"PRAGMA {pragma}")
            async with connection.execute("PRAGMA user_version") as cursor:
                row = await cursor.fetchone()
            version = row[0] if row else 0
            if version > SCHEMA_VERSION:
                raise NewerDatabase(f"{self._path} has schema {version}; this program knows up to {SCHEMA_VERSION}")
            await connection.executescript(SCHEMA)
            await connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        except BaseException:
            await connection.close()
            raise
        self._connection = connection

    async def add_schema(self, script: str) -> None:
        """A network's own tables (CREATE … IF NOT EXISTS), in the same file."""
        async with self._lock:
            await self._opened.executescript(script)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            async with self._lock:
                await connection.close()

    @property
    def _opened(self) -> aiosqlite.Connection:
        if self._connection is None:
            raise StoreUnavailable("the bridge is stopping, or was not started")
        return self._connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """BEGIN … COMMIT; any exception rolls all of it back. Raises StoreUnavailable."""
        async with self._lock:
            connection = self._opened
            try:
                try:
                    # Within: whoever is cancelled here leaves a BEGIN that the thread still carries out.
                    await connection.execute("BEGIN IMMEDIATE")
                    yield Transaction(connection)
                    # Shielded: a cancelled caller must not leave a transaction open for the next one.
                    await asyncio.shield(asyncio.ensure_future(connection.commit()))
                except BaseException:
                    await asyncio.shield(asyncio.ensure_future(connection.rollback()))
                    raise
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF in _PASSING:
                    raise StoreUnavailable(f"the bridge's database cannot be used: {error}") from error
                raise

    async def prune(self, before_ms: int) -> None:
        """Forget what is settled and older than `before_ms`; pending work and id mappings are kept."""
        async with self.transaction() as txn:
            await txn.execute("DELETE FROM transactions WHERE received_ms < ?", (before_ms,))
            await txn.execute("DELETE FROM outgoing WHERE state <> 0 AND received_ms < ?", (before_ms,))
            await txn.execute(
                "DELETE FROM outgoing WHERE received_ms < ? AND room_id NOT IN (SELECT room_id FROM portals)",
                (before_ms,),
            )
