"""What the rest of storage/ knows of a database: reads, and one writer with group commit.

Three drivers implement `Database`: aiosqlite (the embedded default), asyncpg (PostgreSQL) and a synchronous SQLite
for unit tests and the deterministic simulation. SQL is written once, with `?` placeholders, in the subset that both
engines speak; what differs is a named difference of the driver (`dialect`).

What to mind in that subset: values travel as parameters only, never in the text (known attack D18); PostgreSQL is
strict about types, so a TEXT column gets `str`, a BIGINT column `int`, bytes `bytes`, and a parameter without a column
beside it is written `CAST(? AS BIGINT)`; upserts are `INSERT ... ON CONFLICT (...) DO UPDATE SET x = excluded.x`;
`LIKE` is case-sensitive on PostgreSQL only; ORDER BY says NULLS FIRST or LAST where a column may be NULL. A literal
question mark may stand in quotes only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar

from homeserver.protocol.errors import Unavailable

T = TypeVar("T")
Row = tuple[Any, ...]
Params = Sequence[Any]


ForeignListener = Callable[[int, int], Awaitable[None] | None]


class StatementRefused(Exception):
    """The database refused a statement: a mistake in it, or a value that does not fit. Nothing was changed."""


class ConstraintViolated(StatementRefused):
    """A row broke a constraint (UNIQUE, NOT NULL, CHECK, foreign key). Nothing was changed."""


class InputOutputFailed(Unavailable):
    """The disk failed. After a failed fsync nobody knows what is on it, so the writer writes nothing any more."""


class Reader(Protocol):
    """Queries. Outside a transaction they see everything that was committed before the call."""

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]: ...

    async def fetch_one(self, sql: str, params: Params = ()) -> Row | None: ...

    async def fetch_value(self, sql: str, params: Params = ()) -> Any:
        """The first column of the first row, or None."""
        ...


class Transaction(Reader, Protocol):
    """The one write transaction in progress, shared by all jobs of a batch. Reads see earlier writes of the batch.

    An error of the database (`StatementRefused`, `Unavailable`) ends the transaction, caught or not, as PostgreSQL
    has it; so look first, or write `ON CONFLICT DO NOTHING` and count the rows.
    """

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
        next job runs. Not called when a shared batch is rolled back, since its jobs then run again. When the database
        itself cannot commit (`Unavailable`), all jobs of the batch have failed for good."""
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
        (A job that raises before any statement of its own ran, and without `on_abort`, costs the batch nothing.)
        Results reach the callers in the order of their jobs.

        A job awaits nothing but its transaction: everybody else's writes wait for it. It runs to its end, also when
        its caller is cancelled while it is still queued.

        Raises Unavailable when the database cannot write now (disk full, connection lost): nothing was changed,
        reads go on, and later writes are tried again; except after an I/O error, which ends writing until the
        database is opened again. The job may not have run at all then, so nobody has called its `on_abort`.
        """
        ...

    def on_foreign_position(self, listener: ForeignListener) -> None:
        """Call `listener(old, new)` when another process moved the stream, before the next job of this one runs.

        What was cached as of position `old` may be stale. `position` becomes `new` after the listeners return; when
        one raises, the batch is refused and they are called again with the next.
        """
        ...

    async def refresh_position(self) -> int:
        """Look whether another process moved the stream, tell the listeners, and return the position."""
        ...

    async def close(self) -> None: ...
