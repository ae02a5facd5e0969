"""The writer's connection to PostgreSQL: it comes back after a restart, and finds out what became of a lost COMMIT.

When the connection breaks during COMMIT nobody knows whether it took place. So each batch also writes its number to
this process's row of `writers`; on a new connection, after the old transaction has let go of the counter's lock, that
row tells. A batch whose fate cannot be learnt in time is answered with an error; if it did take place, the next batch
sees the counter ahead of what this process knew and treats it as another process's work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from homeserver.clock import Clock
from homeserver.protocol.errors import Unavailable
from homeserver.storage.batch import Group
from homeserver.storage.database import Params, Row
from homeserver.storage.placeholders import numbered
from homeserver.storage.postgresql_connection import ConnectionLost, connect, translate

SETTLE_SECONDS = 30.0
RETRY_SECONDS = 0.25
FORGET_WRITERS_MS = 30 * 24 * 3600 * 1000

LOCK_POSITION = "SELECT position FROM stream FOR UPDATE"
FINISH_BATCH = numbered("""
    WITH finished AS (
        INSERT INTO writers (writer_id, batch, opened_at_ms) VALUES (?, ?, ?)
        ON CONFLICT (writer_id) DO UPDATE SET batch = excluded.batch
    )
    UPDATE stream SET position = ?
""")
FIND_BATCH = numbered("SELECT batch FROM writers WHERE writer_id = ?")
REMOVE_WRITERS = numbered("DELETE FROM writers WHERE writer_id = ? OR opened_at_ms < ?")

logger = logging.getLogger(__name__)


class PostgresqlEngine:
    """`Engine` over one asyncpg connection at a time. `writer_id`: this process's own, new for each start."""

    def __init__(self, location: str, connection: Any, clock: Clock, writer_id: str) -> None:
        self._location = location
        self._connection: Any = connection
        self._clock = clock
        self._writer_id = writer_id
        self._opened_at_ms = clock.now_ms()
        self._batch = 0

    async def register(self) -> None:
        """Forget processes that ended long ago; this one's row comes with its first batch."""
        await self._connection.execute(REMOVE_WRITERS, self._writer_id, self._opened_at_ms - FORGET_WRITERS_MS)

    async def begin(self) -> int:
        try:
            return await self._begin()
        except ConnectionLost:  # nothing is under way yet, so a new connection is as good
            return await self._begin()

    async def fetch(self, sql: str, params: Params) -> list[Row]:
        try:
            return [tuple(row) for row in await self._connection.fetch(numbered(sql), *params)]
        except Exception as error:
            raise translate(error) from error

    async def execute(self, sql: str, params: Params) -> int:
        try:
            status: str = await self._connection.execute(numbered(sql), *params)
        except Exception as error:
            raise translate(error) from error
        last = status.rpartition(" ")[2]  # "INSERT 0 3", "UPDATE 3", "CREATE TABLE"
        return int(last) if last.isdigit() else 0

    async def run(self, groups: Sequence[Group]) -> None:
        try:
            for sql, rows in groups:
                await self._connection.executemany(numbered(sql), rows)
        except Exception as error:
            raise translate(error) from error

    async def commit(self, groups: Sequence[Group], position: int) -> None:
        batch = self._batch + 1
        try:
            await self.run(groups)
            await self._connection.execute(FINISH_BATCH, self._writer_id, batch, self._opened_at_ms, position)
        except Exception as error:
            await self.rollback()
            raise translate(error) from error
        self._batch = batch
        try:
            status = await self._connection.execute("COMMIT")
        except Exception as error:
            self._drop()
            if not isinstance(translate(error), Unavailable):
                raise translate(error) from error
            await self._settle(batch)
            return
        if status != "COMMIT":  # PostgreSQL answers ROLLBACK when the transaction had failed before
            raise Unavailable("PostgreSQL rolled the transaction back.")

    async def rollback(self) -> None:
        try:
            if not self._connection.is_closed():
                await self._connection.execute("ROLLBACK")
        except Exception:
            self._drop()

    async def close(self) -> None:
        try:
            async with asyncio.timeout(5):
                await self._connection.execute(REMOVE_WRITERS, self._writer_id, 0)
                await self._connection.close()
        except Exception:
            self._drop()

    async def _begin(self) -> int:
        try:
            if self._connection.is_closed():
                self._connection = await connect(self._location)
            await self._connection.execute("BEGIN")
            position: int = await self._connection.fetchval(LOCK_POSITION)
        except Exception as error:
            self._drop()
            raise translate(error) from error
        return position

    async def _settle(self, batch: int) -> None:
        """Return if the batch was committed; raise Unavailable if not, or if nobody can say."""
        deadline = self._clock.monotonic() + SETTLE_SECONDS
        while True:
            try:
                await self._begin()  # waits for the old transaction, which holds this lock until it ends
                found = await self._connection.fetchval(FIND_BATCH, self._writer_id)
                await self.rollback()
            except Exception as error:
                self._drop()
                if self._clock.monotonic() >= deadline:
                    logger.warning("The outcome of a COMMIT is unknown: %s", translate(error))
                    raise Unavailable(
                        "The connection to PostgreSQL was lost during a commit, and did not come back in time to "
                        "learn its outcome."
                    ) from error
                await self._clock.sleep(RETRY_SECONDS)
                continue
            if found == batch:
                return
            raise ConnectionLost("The connection to PostgreSQL was lost during a commit: nothing was changed.")

    def _drop(self) -> None:
        """Give the connection up; the next step makes a new one."""
        if not self._connection.is_closed():
            self._connection.terminate()
