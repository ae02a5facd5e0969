"""What the rest of storage/ knows of a database: reads, and one writer with group commit.

Three drivers implement `Database`: aiosqlite (the embedded default), asyncpg (PostgreSQL) and a synchronous SQLite
for unit tests and the deterministic simulation. SQL is written once, with `?` placeholders, in the subset that both
engines speak; what differs is a named difference of the driver (`dialect`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]
Params = Sequence[Any]


class Reader(Protocol):
    """Queries. Outside a transaction they see everything that was committed before the call."""

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]: ...

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None: ...

    async def fetch_value(self, sql: str, params: Params = ()) -> Any:
        """The first column of the first row, or None."""
        ...


class Transaction(Reader, Protocol):
    """The one write transaction in progress, shared by all jobs of a batch. Reads see earlier writes of the batch."""

    def next_position(self) -> int:
        """Take the next position of the one stream. Commit order is position order; a failed batch gives its back."""
        ...

    async def execute(self, sql: str, params: Params = ()) -> int:
        """Run now; the number of rows touched. Deferred writes are flushed first."""
        ...

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> None: ...

    def add(self, sql: str, params: Params) -> None:
        """Write later in this transaction, together with every other row of the same statement.

        Cheap: nothing waits. Deferred rows of one statement keep their order; different statements may change places
        among themselves, so they must commute. Flushed before any read or `execute`, and before COMMIT.
        """
        ...

    def put(self, sql: str, key: object, params: Params) -> None:
        """As `add`, but of several rows with the same (sql, key) in one batch only the last is written."""
        ...

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call back right after COMMIT: in job order, on the loop, before any result of the batch is delivered.

        This is where what is kept in memory follows what was written, so that whoever sees `Database.position`
        sees memory that is as new. Forgotten when the batch is rolled back. Must not raise.
        """
        ...

    def on_abort(self, callback: Callable[[], None]) -> None:
        """Call back when this job has failed for good (its own transaction, run alone, was rolled back), before the
        next job runs. Not called when a shared batch is rolled back, since its jobs then run again."""
        ...


Job = Callable[[Transaction], Awaitable[T]]


class Database(Reader, Protocol):
    """One database, one writer."""

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]: ...

    @property
    def position(self) -> int:
        """The newest committed position of the stream, as far as this process knows."""
        ...

    async def write(self, job: Job[T]) -> T:
        """Run `job` in the next batch; return its result after COMMIT (with synchronous=FULL).

        Jobs run one after another in the order of the calls and are committed together. When one raises, the batch is
        rolled back and its jobs run again, each in a transaction of its own; so a job must be safe to run twice: it
        changes nothing but through the transaction. The caller whose own job raised gets that exception, no other.
        Results reach the callers in the order of their jobs.
        """
        ...

    async def close(self) -> None: ...
