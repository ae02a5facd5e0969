"""PostgreSQL goes away and comes back: jobs meanwhile are refused, later ones work, and nothing is applied twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from homeserver.clock import SystemClock
from homeserver.protocol.errors import Unavailable
from homeserver.storage import postgresql_engine
from homeserver.storage.database import Database, Job, StatementRefused, Transaction
from homeserver.storage.opening import open_database
from homeserver.storage.postgresql import PostgresqlDatabase
from homeserver.storage.postgresql_connection import ConnectionLost, translate
from tests.support.databases import ONLY_POSTGRESQL
from tests.support.postgresql import PostgresServer

ADD = "INSERT INTO notes (id) VALUES (?)"
ALL = "SELECT id FROM notes ORDER BY id"


@pytest.fixture
async def server() -> AsyncIterator[PostgresServer]:
    """A server of the test's own, to be stopped."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


def adding(number: int) -> Job[int]:
    async def job(txn: Transaction) -> int:
        txn.add(ADD, (number,))
        return txn.next_position()

    return job


async def create(txn: Transaction) -> None:
    await txn.execute("CREATE TABLE notes (id BIGINT)")


class Losing:
    """A connection that breaks at COMMIT: before the server has heard of it, or after it has done it."""

    def __init__(self, inner: Any, *, committed: bool) -> None:
        self._inner = inner
        self._committed = committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def execute(self, sql: str, *params: Any) -> Any:
        if sql != "COMMIT":
            return await self._inner.execute(sql, *params)
        if self._committed:
            await self._inner.execute(sql)
        self._inner.terminate()
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_restarted_server_is_found_again_by_readers_and_by_the_writer(
    server: PostgresServer, how: signal.Signals
) -> None:
    database = await open_database(server.url(), SystemClock())
    await database.write(create)
    assert await database.write(adding(1)) == 1
    assert await database.fetch_all(ALL) == [(1,)]
    server.stop(how)
    with pytest.raises(Unavailable):
        await database.write(adding(2))
    with pytest.raises(Unavailable):
        await database.fetch_all(ALL)
    server.start()
    assert await database.fetch_all(ALL) == [(1,)]
    assert await database.write(adding(3)) == 2
    server.stop(how)
    server.start()
    assert await database.write(adding(4)) == 3  # nobody noticed
    assert await database.fetch_all(ALL) == [(1,), (3,), (4,)]
    await database.close()


async def test_a_server_that_goes_away_within_a_transaction_changes_nothing(server: PostgresServer) -> None:
    database = await open_database(server.url(), SystemClock())
    await database.write(create)

    async def job(txn: Transaction) -> None:
        await txn.execute(ADD, (1,))
        server.stop()
        await txn.execute(ADD, (2,))

    with pytest.raises(ConnectionLost):
        await database.write(job)
    server.start()
    assert await database.write(adding(3)) == 1
    assert await database.fetch_all(ALL) == [(3,)]
    await database.close()


@ONLY_POSTGRESQL
@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_whose_answer_is_lost_is_answered_by_what_really_happened(
    database: PostgresqlDatabase, committed: bool
) -> None:
    await database.write(create)
    seen: list[tuple[int, int]] = []
    database.on_foreign_position(lambda old, new: seen.append((old, new)))
    engine = database._engine
    engine._connection = Losing(engine._connection, committed=committed)
    results = await asyncio.gather(*(database.write(adding(n)) for n in (1, 2)), return_exceptions=True)
    if committed:
        assert results == [1, 2]
        assert await database.fetch_all(ALL) == [(1,), (2,)]
    else:
        assert [type(result) for result in results] == [ConnectionLost] * 2
        assert await database.fetch_all(ALL) == []
    assert await database.write(adding(3)) == (3 if committed else 1)
    assert (database.position, seen) == (3 if committed else 1, [])


@ONLY_POSTGRESQL
async def test_a_commit_whose_outcome_cannot_be_learnt_is_an_error_and_then_another_processs_work(
    database: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.write(create)
    seen: list[tuple[int, int]] = []
    database.on_foreign_position(lambda old, new: seen.append((old, new)))
    engine = database._engine

    async def unreachable(location: str) -> Any:
        raise ConnectionLost("no route")

    monkeypatch.setattr(postgresql_engine, "SETTLE_SECONDS", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(postgresql_engine, "connect", unreachable)
        engine._connection = Losing(engine._connection, committed=True)
        with pytest.raises(Unavailable, match="outcome"):
            await database.write(adding(1))
    assert await database.write(adding(2)) == 2
    assert seen == [(0, 1)]


@ONLY_POSTGRESQL
async def test_batches_of_several_processes_come_one_after_another(database: Database, database_location: str) -> None:
    await database.write(create)
    others = [await open_database(database_location, SystemClock()) for _ in range(3)]
    everybody = [database, *others]
    jobs = [everybody[number % 4].write(adding(number)) for number in range(80)]
    assert sorted(await asyncio.gather(*jobs)) == list(range(1, 81))
    for each in everybody:
        assert await each.refresh_position() == 80
    for other in others:
        await other.close()
    assert await database.fetch_value("SELECT COUNT(*) FROM writers") == 1  # closing removes a process's row


@ONLY_POSTGRESQL
async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(Unavailable):  # SQLSTATE 25006
        await database.fetch_all("DELETE FROM stream RETURNING position")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncpg.DiskFullError("x"), Unavailable),
        (asyncpg.SerializationError("x"), Unavailable),
        (asyncpg.AdminShutdownError("x"), ConnectionLost),
        (asyncpg.CannotConnectNowError("x"), ConnectionLost),
        (asyncpg.InterfaceError("connection is closed"), ConnectionLost),
        (asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed"), StatementRefused),
        (asyncpg.UndefinedTableError("x"), StatementRefused),
        (TimeoutError(), ConnectionLost),
        (ConnectionRefusedError("x"), ConnectionLost),
    ],
)
def test_errors_of_postgresql_are_told_apart(error: Exception, kind: type[Exception]) -> None:
    assert type(translate(error)) is kind
