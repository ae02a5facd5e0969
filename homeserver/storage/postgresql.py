"""PostgreSQL through asyncpg: one connection that writes, and a pool of a few that read.

The counter of the stream is a row that each write transaction locks first, so the batches of many processes come one
after another, and commit order is stream order.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any, Literal

import asyncpg

from homeserver.clock import Clock
from homeserver.protocol.errors import Unavailable
from homeserver.storage.database import ForeignListener, Job, Params, Row, T
from homeserver.storage.migrating import Migration, MigrationRefused, migrate_postgresql
from homeserver.storage.placeholders import numbered
from homeserver.storage.postgresql_connection import ConnectionLost, connect, connect_settings, set_up, translate
from homeserver.storage.postgresql_engine import PostgresqlEngine
from homeserver.storage.writer import Writer

MOST_READERS = 5

READ_POSITION = "SELECT position FROM stream"

logger = logging.getLogger(__name__)


class _PooledConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that goes back to the pool without a question to the server: readers leave no trace."""

    def get_reset_query(self) -> str:
        return ""


class PostgresqlDatabase:
    """`Database` over asyncpg; see `open_postgresql`."""

    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, engine: PostgresqlEngine, pool: Any, position: int) -> None:
        self._engine = engine
        self._pool = pool
        self._writer = Writer(engine, position)
        self._closed = False

    @property
    def position(self) -> int:
        return self._writer.position

    async def write(self, job: Job[T]) -> T:
        return await self._writer.write(job)

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        try:
            rows = await self._fetch(sql, params)
        except ConnectionLost:  # the server was restarted, perhaps long ago: reading twice does no harm
            rows = await self._fetch(sql, params)
        return [tuple(row) for row in rows]

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
            await self._writer.learn(await self.fetch_value(READ_POSITION))
        return self._writer.position

    async def close(self) -> None:
        """Write what is queued, then close."""
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        await self._engine.close()
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except Exception:
            self._pool.terminate()

    async def _fetch(self, sql: str, params: Params) -> Any:
        try:
            return await self._pool.fetch(numbered(sql), *params)
        except Exception as error:
            raise translate(error) from error


async def open_postgresql(
    location: str, clock: Clock, migrations: Sequence[Migration] | None = None
) -> PostgresqlDatabase:
    """Connect to and migrate the database at `location`, a URL. Raises MigrationRefused, Unavailable."""
    connection = await connect(location)
    pool = None
    try:
        encoding = connection.get_settings().server_encoding
        if encoding != "UTF8":
            raise MigrationRefused(
                f"The database has the encoding {encoding}, and Halfdoor needs UTF8: create it with "
                "CREATE DATABASE … ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0."
            )
        await migrate_postgresql(connection, clock.now_ms(), migrations)
        engine = PostgresqlEngine(location, connection, clock, secrets.token_hex(12))
        await engine.register()
        pool = await asyncpg.create_pool(
            location,
            min_size=1,
            max_size=MOST_READERS,
            connection_class=_PooledConnection,
            init=set_up,
            **connect_settings(read_only=True),
        )
        return PostgresqlDatabase(engine, pool, await connection.fetchval(READ_POSITION))
    except BaseException as error:
        connection.terminate()
        if pool is not None:
            pool.terminate()
        if isinstance(error, Exception) and not isinstance(error, MigrationRefused | Unavailable):
            raise translate(error) from error
        raise
