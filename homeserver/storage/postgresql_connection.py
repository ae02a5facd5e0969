"""A connection to PostgreSQL: how it is set up, and what its errors mean."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from typing import Any

import asyncpg

from homeserver.protocol.errors import Unavailable
from homeserver.storage.database import ConstraintViolated, StatementRefused

CONNECT_SECONDS = 10
COMMAND_SECONDS = 60
CACHED_STATEMENTS = 500

_PASSING = {
    "53100": "The disk that holds the database is full: nothing can be written until there is space.",
    "53": "PostgreSQL has not enough of something (memory, connections).",
    "40": "PostgreSQL gave up a transaction that collided with another.",
    "55P03": "Another process keeps the database locked.",
    "58": "PostgreSQL met an error of its operating system.",
    "57014": "PostgreSQL cancelled the statement.",
    "25006": "PostgreSQL is a read-only copy at present.",
}
"""Errors of the machine that may go away, by SQLSTATE or its first two letters; nothing was changed."""

_LOST = ("08", "57P", "25P03")
"""SQLSTATEs after which the connection is gone: broken, shut down or starting up, idle for too long."""


class _OneLine(logging.Filter):
    """asyncpg's pool tells of a database that is down with a traceback each time: its last line says it all."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            record.msg = f"{record.getMessage()}: {record.exc_info[1]}"
            record.args, record.exc_info = (), None
        return True


logging.getLogger("asyncpg.pool").addFilter(_OneLine())


class ConnectionLost(Unavailable):
    """The connection to PostgreSQL is gone, or there was none to be had."""


def connect_settings(*, read_only: bool = False) -> dict[str, Any]:
    """What `asyncpg.connect` and `create_pool` are told."""
    settings = {
        "application_name": "halfdoor",
        "jit": "off",  # costs more than it saves for statements as short as ours
        "idle_in_transaction_session_timeout": "60000",  # a transaction whose process is gone must not keep its lock
    }
    if read_only:
        settings["default_transaction_read_only"] = "on"
    return {
        "timeout": CONNECT_SECONDS,
        "command_timeout": COMMAND_SECONDS,
        "statement_cache_size": CACHED_STATEMENTS,
        "max_cached_statement_lifetime": 0,
        "server_settings": settings,
    }


async def connect(location: str) -> Any:
    """A connection that may write. Raises ConnectionLost, Unavailable, StatementRefused (as for a wrong password)."""
    try:
        connection = await asyncpg.connect(location, **connect_settings())
        await set_up(connection)
    except Exception as error:
        raise translate(error) from error
    return connection


async def set_up(connection: Any) -> None:
    """Sums and averages come as int or float, as SQLite gives them, instead of Decimal."""
    await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=_number, format="text")


def translate(error: Exception) -> Exception:
    """What an exception of asyncpg means to a caller."""
    if isinstance(error, Unavailable | StatementRefused):
        return error
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        if state.startswith("23"):
            return ConstraintViolated(str(error))
        if state.startswith(_LOST):
            return ConnectionLost(f"The connection to PostgreSQL was lost: {error}")
        message = _PASSING.get(state) or _PASSING.get(state[:2])
        return StatementRefused(str(error)) if message is None else Unavailable(message)
    if isinstance(error, asyncio.TimeoutError):
        return ConnectionLost("PostgreSQL did not answer in time.")
    if isinstance(error, asyncpg.InternalClientError):  # the server's good-bye has arrived, but is not yet understood
        return ConnectionLost("The connection to PostgreSQL is being closed.")
    if isinstance(error, OSError):
        return ConnectionLost(f"PostgreSQL cannot be reached: {error}")
    if isinstance(error, asyncpg.InterfaceError):
        # One class for "connection is closed", "pool is closing" and for wrong parameters, which are ValueErrors too
        # or speak of arguments.
        if isinstance(error, ValueError) or "argument" in str(error):
            return StatementRefused(str(error))
        return ConnectionLost(f"The connection to PostgreSQL was lost: {error}")
    if isinstance(error, ValueError | TypeError | OverflowError):
        return StatementRefused(str(error))
    return error


def _number(text: str) -> int | float:
    value = Decimal(text)
    return int(value) if value == value.to_integral_value() else float(value)
