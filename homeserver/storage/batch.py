"""The transaction that the jobs of one batch share: what they defer, what is undone when one of them raises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from homeserver.storage.database import Params, Row

Group = tuple[str, list[Params]]
"""One statement and the rows that it is run with, in order."""

_ADDED = object()


class Engine(Protocol):
    """The writer's own connection: what a driver provides below `Database.write`.

    Every method raises `StatementRefused` when the statement is at fault, and `Unavailable` when the machine is.
    """

    async def begin(self) -> int:
        """Begin the write transaction and return the stream's counter, locked until its end."""
        ...

    async def fetch(self, sql: str, params: Params) -> list[Row]: ...

    async def execute(self, sql: str, params: Params) -> int: ...

    async def run(self, groups: Sequence[Group]) -> None: ...

    async def commit(self, groups: Sequence[Group], position: int) -> None:
        """Run the groups, set the counter, COMMIT. When it raises, the transaction is over and nothing was changed."""
        ...

    async def rollback(self) -> None:
        """End the transaction, whatever state it is in. Never raises."""
        ...


class Batch:
    """`Transaction` over an `Engine`; the writer calls the methods that the protocol does not have."""

    __slots__ = (
        "_deferred",
        "_engine",
        "_mark",
        "_mark_abort",
        "_mark_commit",
        "_mark_position",
        "_ran",
        "_start",
        "abort_callbacks",
        "commit_callbacks",
        "failure",
        "position",
        "wrote",
    )

    def __init__(self, engine: Engine, position: int) -> None:
        self._engine = engine
        self._deferred: list[tuple[str, object, Params]] = []
        self._start = position
        self.position = position
        self.wrote = False
        """Whether a statement that changes something has run."""
        self.failure: Exception | None = None
        """The database's own error, which ended the transaction."""
        self.commit_callbacks: list[Callable[[], None]] = []
        self.abort_callbacks: list[Callable[[], None]] = []
        self._mark = self._mark_commit = self._mark_abort = 0
        self._mark_position = position
        self._ran = False

    # What jobs call.

    def next_position(self) -> int:
        self.position += 1
        return self.position

    def add(self, sql: str, params: Params) -> None:
        self._deferred.append((sql, _ADDED, params))

    def put(self, sql: str, key: object, params: Params) -> None:
        self._deferred.append((sql, key, params))

    def on_commit(self, callback: Callable[[], None]) -> None:
        self.commit_callbacks.append(callback)

    def on_abort(self, callback: Callable[[], None]) -> None:
        self.abort_callbacks.append(callback)

    async def execute(self, sql: str, params: Params = ()) -> int:
        await self._flush()
        self._ran = self.wrote = True
        try:
            return await self._engine.execute(sql, params)
        except Exception as error:
            self.failure = error
            raise

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> None:
        await self._flush()
        if rows:
            self._ran = self.wrote = True
            await self._run([(sql, list(rows))])

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        await self._flush()
        if sql.lstrip()[:6].upper() != "SELECT":  # such as INSERT ... RETURNING
            self._ran = self.wrote = True
        try:
            return await self._engine.fetch(sql, params)
        except Exception as error:
            self.failure = error
            raise

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None:
        rows = await self.fetch_all(sql, params)
        return rows[0] if rows else None

    async def fetch_value(self, sql: str, params: Params = ()) -> Any:
        row = await self.fetch_one(sql, params)
        return None if row is None else row[0]

    # What the writer calls.

    def begin_job(self) -> None:
        """Remember where the next job starts, to be able to undo it."""
        self._mark = len(self._deferred)
        self._mark_position = self.position
        self._mark_commit = len(self.commit_callbacks)
        self._mark_abort = len(self.abort_callbacks)
        self._ran = False

    def undo_job(self) -> bool:
        """Forget what the job that just raised deferred; False if that is not enough.

        Namely when some of it has reached the database, or when it is to be told that it failed (`on_abort`): what it
        takes back then is on top of its predecessors' work, which must be committed first.
        """
        if self._ran or self.failure is not None or len(self.abort_callbacks) > self._mark_abort:
            return False
        del self._deferred[self._mark :]
        del self.commit_callbacks[self._mark_commit :]
        self.position = self._mark_position
        return True

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not self._deferred and not self.wrote and self.position == self._start

    def take_groups(self) -> list[Group]:
        """The deferred rows by statement, statements in the order of their first row; nothing is deferred after it."""
        added: dict[str, list[Params]] = {}
        latest: dict[str, dict[object, Params]] = {}
        groups: list[Group] = []
        for sql, key, params in self._deferred:
            if key is _ADDED:
                rows = added.get(sql)
                if rows is None:
                    rows = added[sql] = []
                    groups.append((sql, rows))
                rows.append(params)
            else:
                by_key = latest.get(sql)
                if by_key is None:
                    by_key = latest[sql] = {}
                    groups.append((sql, []))
                by_key[key] = params
        self._deferred = []
        self._mark = 0
        if latest:
            groups = [(sql, rows or list(latest[sql].values())) for sql, rows in groups]
        return groups

    async def _flush(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self._deferred:
            self._ran = self._ran or len(self._deferred) > self._mark
            self.wrote = True
            await self._run(self.take_groups())

    async def _run(self, groups: Sequence[Group]) -> None:
        try:
            await self._engine.run(groups)
        except Exception as error:
            self.failure = error
            raise
