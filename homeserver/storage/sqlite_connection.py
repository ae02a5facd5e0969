"""SQLite as both of its drivers use it: how a connection is set up, and a transaction's steps on the calling thread."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence

from homeserver.protocol.errors import Unavailable
from homeserver.storage.batch import Group
from homeserver.storage.database import ConstraintViolated, InputOutputFailed, Params, Row, StatementRefused

CACHED_STATEMENTS = 256

READ_POSITION = "SELECT position FROM stream"
SET_POSITION = "UPDATE stream SET position = ?"

_PASSING = {
    sqlite3.SQLITE_FULL: "The disk that holds the database is full: nothing can be written until there is space.",
    sqlite3.SQLITE_BUSY: "Another process keeps the database locked.",
    sqlite3.SQLITE_LOCKED: "Another connection keeps the database locked.",
    sqlite3.SQLITE_READONLY: "The database cannot be written: its file or file system is read-only.",
    sqlite3.SQLITE_CANTOPEN: "The database file cannot be opened.",
    sqlite3.SQLITE_NOMEM: "There is not enough memory for the database.",
    sqlite3.SQLITE_INTERRUPT: "The database was interrupted.",
}
"""Errors of the machine that may go away; nothing was changed."""

_PASSING_IO = {sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_NOMEM}
"""I/O errors before anything was written: no space for the index of the write-ahead log; no memory."""


def create_private(path: str) -> None:
    """Make the file, when there is none, readable by its owner alone (SQLite gives -wal and -shm the same mode)."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def connect(path: str, *, read_only: bool = False, checkpoints: bool = True) -> sqlite3.Connection:
    """A connection in autocommit mode, durable (WAL, every COMMIT synced). Raises Unavailable.

    `checkpoints`: whether a COMMIT now and then copies the log into the database; else somebody has to.
    """
    try:
        connection = sqlite3.connect(
            path, isolation_level=None, cached_statements=CACHED_STATEMENTS, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA busy_timeout = 10000")  # milliseconds
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA mmap_size = 0")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA cache_size = -8192")  # KiB
            if not checkpoints:
                connection.execute("PRAGMA wal_autocheckpoint = 0")
            if read_only:
                connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise translate(error) from error
    return connection


def translate(error: Exception) -> Exception:
    """What an exception of sqlite3 means to a caller."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # a wrong number of parameters, a value SQLite cannot hold
        return StatementRefused(str(error)) if isinstance(error, sqlite3.Error | ValueError | OverflowError) else error
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_CONSTRAINT:
        return ConstraintViolated(str(error))
    if primary in _PASSING:
        return Unavailable(_PASSING[primary])
    if code in _PASSING_IO:
        return Unavailable("The database has no space to work in.")
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return InputOutputFailed(
            f"The database file cannot be relied on ({error}): check the disk, then restart the server."
        )
    return StatementRefused(str(error))


def fetch(connection: sqlite3.Connection, sql: str, params: Params) -> list[Row]:
    try:
        return connection.execute(sql, params).fetchall()
    except Exception as error:
        raise translate(error) from error


def begin(connection: sqlite3.Connection) -> int:
    """Begin a write transaction; the stream's counter."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        position: int = connection.execute(READ_POSITION).fetchone()[0]
    except Exception as error:
        rollback(connection)
        raise translate(error) from error
    return position


def execute(connection: sqlite3.Connection, sql: str, params: Params) -> int:
    try:
        return max(connection.execute(sql, params).rowcount, 0)
    except Exception as error:
        raise translate(error) from error


def run(connection: sqlite3.Connection, groups: Sequence[Group]) -> None:
    try:
        for sql, rows in groups:
            connection.executemany(sql, rows)
    except Exception as error:
        raise translate(error) from error


def commit(connection: sqlite3.Connection, groups: Sequence[Group], position: int) -> None:
    """Run the groups, set the counter, COMMIT; after an error, roll back."""
    try:
        for sql, rows in groups:
            connection.executemany(sql, rows)
        connection.execute(SET_POSITION, (position,))
        connection.execute("COMMIT")
    except Exception as error:
        rollback(connection)
        raise translate(error) from error


def rollback(connection: sqlite3.Connection) -> None:
    """End the transaction, if SQLite has not done so itself. Never raises."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:  # it rolls back by itself after the worst errors
        pass
