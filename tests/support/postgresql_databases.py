"""Migrated databases of a test run's PostgreSQL, used again and again: to empty one takes a tenth of what it takes to
make one, which is a folder of a thousand files."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import asyncpg

from homeserver.clock import SystemClock
from homeserver.storage.opening import open_database
from tests.support.postgresql import PostgresServer

LIST_TABLES = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname
"""
# Whatever a test may have made, changed or removed beside rows.
FINGERPRINT = """
    SELECT md5(string_agg(thing, ',' ORDER BY thing)) FROM (
        SELECT concat_ws(' ', 'relation', oid, relname, relkind, relnatts, relchecks, relpersistence) AS thing
            FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', 'column', attrelid, attname, atttypid, attnotnull) FROM pg_attribute
            JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = 'public'::regnamespace AND attnum > 0
        UNION ALL SELECT concat_ws(' ', 'constraint', oid) FROM pg_constraint
        UNION ALL SELECT concat_ws(' ', 'trigger', oid, tgenabled) FROM pg_trigger
        UNION ALL SELECT concat_ws(' ', 'rule', oid) FROM pg_rewrite
        UNION ALL SELECT concat_ws(' ', 'function', oid) FROM pg_proc
        UNION ALL SELECT concat_ws(' ', 'type', oid) FROM pg_type WHERE typnamespace = 'public'::regnamespace
        UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'
        UNION ALL SELECT 'setting ' || setconfig::text FROM pg_db_role_setting
    ) AS things
"""
END_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"


@dataclass
class _Kept:
    """A database, a connection to it, and how it was when it was new."""

    name: str
    connection: Any
    fingerprint: str
    tables: list[str]
    first_rows: dict[str, list[Any]]

    async def list_used(self) -> list[str]:
        """The tables that have rows."""
        parts = [f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM \"{name}\")" for name in self.tables]
        return [row[0] for row in await self.connection.fetch(" UNION ALL ".join(parts))]


class PostgresDatabases:
    """The databases of one server. Each is lent to one test at a time."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._administrator: Any = None
        self._numbers = itertools.count(1)
        self._free: list[_Kept] = []
        self._lent: dict[str, _Kept] = {}

    async def lend(self) -> str:
        """The name of an empty, migrated database that nobody else uses."""
        kept = self._free.pop() if self._free else await self._make()
        self._lent[kept.name] = kept
        return kept.name

    async def take_back(self, name: str) -> None:
        """Make it as it was, or remove it."""
        kept = self._lent.pop(name)
        try:
            await kept.connection.fetch(END_OTHERS, name)
            made = {row[0] for row in await kept.connection.fetch(LIST_TABLES)} - set(kept.tables)
            if made:
                await kept.connection.execute(f"DROP TABLE {_quoted(made)} CASCADE")
            if await kept.connection.fetchval(FINGERPRINT) == kept.fingerprint:
                await self._empty(kept)
                self._free.append(kept)
                return
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            pass  # the test broke more than it may; there are others
        kept.connection.terminate()
        await self._administrator.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def close(self) -> None:
        """The server goes, and all with it."""
        for kept in (*self._free, *self._lent.values()):
            kept.connection.terminate()
        if self._administrator is not None:
            self._administrator.terminate()

    async def _make(self) -> _Kept:
        if self._administrator is None:
            self._administrator = await asyncpg.connect(self._server.url())
        name = f"halfdoor_{next(self._numbers)}"
        await self._administrator.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
        await (await open_database(self._server.url(name), SystemClock())).close()
        connection = await asyncpg.connect(self._server.url(name))
        tables = [row[0] for row in await connection.fetch(LIST_TABLES)]
        kept = _Kept(name, connection, await connection.fetchval(FINGERPRINT), tables, {})
        for table in await kept.list_used():
            kept.first_rows[table] = await connection.fetch(f'SELECT * FROM "{table}"')
        return kept

    async def _empty(self, kept: _Kept) -> None:
        used = {*await kept.list_used(), *kept.first_rows}
        async with kept.connection.transaction():
            await kept.connection.execute(f"TRUNCATE {_quoted(used)} RESTART IDENTITY CASCADE")
            for table, rows in kept.first_rows.items():
                await kept.connection.copy_records_to_table(table, records=rows)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in sorted(names))
