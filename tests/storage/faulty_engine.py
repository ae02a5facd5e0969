"""An engine that fails when a test says so, in front of a real one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Literal

from homeserver.storage import sqlite_connection
from homeserver.storage.batch import Engine, Group
from homeserver.storage.database import Params, Row
from homeserver.storage.synchronous import SynchronousEngine

Step = Literal["begin", "fetch", "execute", "run", "commit", "committed"]


class FaultyEngine:
    """`failures[step]` is raised, once, instead of that step; "committed": right after a real COMMIT."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner
        self.failures: dict[Step, Exception] = {}
        self.commits = 0

    async def begin(self) -> int:
        self._maybe_fail("begin")
        return await self._inner.begin()

    async def fetch(self, sql: str, params: Params) -> list[Row]:
        self._maybe_fail("fetch")
        return await self._inner.fetch(sql, params)

    async def execute(self, sql: str, params: Params) -> int:
        self._maybe_fail("execute")
        return await self._inner.execute(sql, params)

    async def run(self, groups: Sequence[Group]) -> None:
        self._maybe_fail("run")
        await self._inner.run(groups)

    async def commit(self, groups: Sequence[Group], position: int) -> None:
        if "commit" in self.failures:
            await self._inner.rollback()
        self._maybe_fail("commit")
        await self._inner.commit(groups, position)
        self.commits += 1
        self._maybe_fail("committed")

    async def rollback(self) -> None:
        await self._inner.rollback()

    def _maybe_fail(self, step: Step) -> None:
        error = self.failures.pop(step, None)
        if error is not None:
            raise error


def over_memory() -> tuple[FaultyEngine, sqlite3.Connection]:
    """A faulty engine over SQLite in memory, with the stream and a table of notes."""
    connection = sqlite_connection.connect(":memory:")
    connection.execute("CREATE TABLE stream (position BIGINT)")
    connection.execute("INSERT INTO stream VALUES (0)")
    connection.execute("CREATE TABLE notes (id BIGINT NOT NULL PRIMARY KEY, text TEXT NOT NULL)")
    return FaultyEngine(SynchronousEngine(connection)), connection
