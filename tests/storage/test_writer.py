"""The one writer: order, grouping, isolation of failures, positions, callbacks; on every driver."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from homeserver.protocol.errors import Unavailable
from homeserver.storage.database import ConstraintViolated, Database, Job, StatementRefused, Transaction
from tests.support.databases import ON_ALL_DRIVERS

ADD = "INSERT INTO notes (id, text) VALUES (?, ?)"
SET = "INSERT INTO notes (id, text) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET text = excluded.text"
ALL = "SELECT id, text FROM notes ORDER BY id"


@pytest.fixture
async def notes(database: Database) -> Database:
    async def create(txn: Transaction) -> None:
        await txn.execute("CREATE TABLE notes (id BIGINT NOT NULL PRIMARY KEY, text TEXT NOT NULL)")

    await database.write(create)
    return database


def adding(number: int, text: str = "note") -> Job[Any]:
    """A job that adds one note and takes a position."""

    async def job(txn: Transaction) -> int:
        txn.add(ADD, (number, text))
        return txn.next_position()

    return job


class Refused(Exception):
    """What a test's own job raises."""


@ON_ALL_DRIVERS
async def test_a_written_row_is_there_when_write_returns(notes: Database) -> None:
    position = await notes.write(adding(1))
    assert (position, notes.position) == (1, 1)
    assert await notes.fetch_all(ALL) == [(1, "note")]
    assert await notes.fetch_one("SELECT id, text FROM notes WHERE id = ?", (1,)) == (1, "note")
    assert await notes.fetch_value("SELECT position FROM stream") == 1


@ON_ALL_DRIVERS
async def test_reading_what_is_not_there_gives_none(notes: Database) -> None:
    assert await notes.fetch_all(ALL) == []
    assert await notes.fetch_one(ALL) is None
    assert await notes.fetch_value(ALL) is None


@ON_ALL_DRIVERS
async def test_jobs_run_in_the_order_of_the_calls_and_are_answered_in_it(notes: Database) -> None:
    answered: list[int] = []

    async def write(number: int) -> int:
        position: int = await notes.write(adding(number))
        answered.append(number)
        return position

    positions = await asyncio.gather(*(write(number) for number in range(50)))
    assert positions == list(range(1, 51))
    assert answered == list(range(50))


async def test_jobs_that_wait_together_share_one_transaction(notes: Database) -> None:
    if notes.dialect == "postgresql":
        current = "SELECT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)"
    else:
        current = "SELECT position FROM stream"  # still as the batch found it

    async def job(txn: Transaction) -> Any:
        txn.next_position()
        return await txn.fetch_value(current)

    seen = await asyncio.gather(*(notes.write(job) for _ in range(20)))
    assert len(set(seen)) == 1
    assert await notes.write(job) not in seen


@ON_ALL_DRIVERS
async def test_a_job_sees_what_earlier_jobs_of_the_batch_deferred(notes: Database) -> None:
    async def count(txn: Transaction) -> Any:
        txn.add(ADD, (100, "mine"))
        return await txn.fetch_value("SELECT COUNT(*) FROM notes")

    assert await asyncio.gather(*(notes.write(job) for job in (adding(1), adding(2), count))) == [1, 2, 3]


@ON_ALL_DRIVERS
async def test_only_the_last_of_several_rows_put_under_one_key_is_written(notes: Database) -> None:
    def putting(number: int, text: str) -> Job[None]:
        async def job(txn: Transaction) -> None:
            txn.put(SET, number, (number, text))

        return job

    texts = [(1, "a"), (2, "b"), (1, "c")]
    await asyncio.gather(*(notes.write(putting(*row)) for row in texts))
    assert await notes.fetch_all(ALL) == [(1, "c"), (2, "b")]


@ON_ALL_DRIVERS
async def test_added_rows_of_one_statement_keep_their_order(notes: Database) -> None:
    async def job(txn: Transaction) -> None:
        for text in ("first", "second", "third"):
            txn.add(SET, (1, text))

    await notes.write(job)
    assert await notes.fetch_value("SELECT text FROM notes") == "third"


@ON_ALL_DRIVERS
async def test_execute_counts_rows_and_execute_many_writes_all(notes: Database) -> None:
    async def job(txn: Transaction) -> list[int]:
        txn.add(ADD, (1, "x"))
        await txn.execute_many(ADD, [(2, "x"), (3, "y")])
        await txn.execute_many(ADD, [])
        return [
            await txn.execute("UPDATE notes SET text = ? WHERE text = ?", ("z", "x")),
            await txn.execute("DELETE FROM notes WHERE text = ?", ("none",)),
        ]

    assert await notes.write(job) == [2, 0]
    assert await notes.fetch_all(ALL) == [(1, "z"), (2, "z"), (3, "y")]


@pytest.mark.parametrize("how", ["deferred", "executed", "violating", "returning", "after on_abort"])
async def test_one_failing_job_among_twenty_hurts_nobody_else(notes: Database, how: str) -> None:
    runs: list[str] = []

    async def fail(txn: Transaction) -> None:
        runs.append("run")
        if how == "violating":  # noticed only when the batch is flushed
            txn.add(ADD, (3, "twice"))
            return
        txn.next_position()
        txn.add(ADD, (999, "must not stay"))
        if how == "after on_abort":
            txn.on_abort(lambda: runs.append("aborted"))
        elif how == "executed":
            await txn.execute(ADD, (998, "must not stay"))
        elif how == "returning":
            await txn.fetch_value("INSERT INTO notes (id, text) VALUES (?, ?) RETURNING id", (998, "must not stay"))
        raise Refused

    jobs = [adding(number) for number in range(20)]
    jobs[10] = fail
    results = await asyncio.gather(*(notes.write(job) for job in jobs), return_exceptions=True)
    error = results.pop(10)
    assert isinstance(error, ConstraintViolated if how == "violating" else Refused)
    assert results == list(range(1, 20))
    assert await notes.fetch_all("SELECT id FROM notes ORDER BY id") == [(n,) for n in range(20) if n != 10]
    assert notes.position == await notes.fetch_value("SELECT position FROM stream") == 19
    if how == "deferred":
        assert runs == ["run"]  # undone in place
    elif how == "after on_abort":
        assert runs == ["run", "run", "aborted"]


@ON_ALL_DRIVERS
async def test_an_error_of_the_database_ends_the_transaction_even_when_the_job_catches_it(notes: Database) -> None:
    await notes.write(adding(1))

    async def careless(txn: Transaction) -> None:
        try:
            await txn.execute(ADD, (1, "again"))
        except ConstraintViolated:
            txn.add(ADD, (2, "instead"))

    async def careful(txn: Transaction) -> None:
        try:
            await txn.execute(ADD, (1, "again"))
        except ConstraintViolated as error:
            raise Refused from error

    with pytest.raises(ConstraintViolated):
        await notes.write(careless)
    with pytest.raises(Refused):
        await notes.write(careful)
    assert await notes.fetch_all(ALL) == [(1, "note")]


@ON_ALL_DRIVERS
@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SELECT nonsense FROM nowhere", ()),
        ("INSERT INTO notes (id, text) VALUES (?, ?)", (1,)),
        ("INSERT INTO notes (id, text) VALUES (?, ?)", (2**70, "too large")),
        ("INSERT INTO notes (id, text) VALUES (?, ?)", (1, "\ud800")),
    ],
)
async def test_what_the_database_cannot_take_is_refused_and_the_next_write_works(
    notes: Database, sql: str, params: tuple[Any, ...]
) -> None:
    async def now(txn: Transaction) -> None:
        await txn.execute(sql, params)

    async def later(txn: Transaction) -> None:
        txn.add(sql, params)

    for job in (now, later):
        with pytest.raises(StatementRefused):
            await notes.write(job)
    with pytest.raises(StatementRefused):
        await notes.fetch_all(sql, params)
    await notes.write(adding(1))
    assert await notes.fetch_all(ALL) == [(1, "note")]


async def test_callbacks_come_after_the_commit_and_before_the_answers_in_order_of_the_jobs(notes: Database) -> None:
    seen: list[object] = []

    def remembering(number: int) -> Any:
        async def job(txn: Transaction) -> None:
            txn.add(ADD, (number, "x"))
            position = txn.next_position()
            txn.on_commit(lambda: seen.append((number, notes.position >= position)))
            if number == 2:
                raise Refused

        return job

    async def write(number: int) -> None:
        await notes.write(remembering(number))
        seen.append(f"answer {number}")

    await asyncio.gather(*(write(number) for number in (1, 2, 3)), return_exceptions=True)
    assert seen == [(1, True), (3, True), "answer 1", "answer 3"]


async def test_a_cancelled_caller_does_not_take_back_its_job_nor_break_the_batch(notes: Database) -> None:
    tasks = [asyncio.create_task(notes.write(adding(number))) for number in range(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[3], asyncio.CancelledError)
    assert [result for number, result in enumerate(results) if number != 3] == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert await notes.fetch_value("SELECT COUNT(*) FROM notes") == 10


@ON_ALL_DRIVERS
async def test_a_job_that_cancels_itself_fails_alone(notes: Database) -> None:
    async def job(txn: Transaction) -> None:
        raise asyncio.CancelledError

    results = await asyncio.gather(
        notes.write(adding(1)), notes.write(job), notes.write(adding(2)), return_exceptions=True
    )
    assert [results[0], results[2]] == [1, 2]
    assert isinstance(results[1], asyncio.CancelledError)


@ON_ALL_DRIVERS
async def test_a_job_that_writes_to_the_database_beside_its_transaction_is_told_so(notes: Database) -> None:
    async def job(txn: Transaction) -> None:
        await notes.write(adding(1))

    with pytest.raises(RuntimeError, match="through its own transaction"):
        await notes.write(job)


@ON_ALL_DRIVERS
async def test_closing_writes_what_is_queued_and_refuses_the_rest(notes: Database) -> None:
    tasks = [asyncio.create_task(notes.write(adding(number))) for number in range(5)]
    await asyncio.sleep(0)
    await notes.close()
    assert await asyncio.gather(*tasks) == [1, 2, 3, 4, 5]
    with pytest.raises(Unavailable, match="stopping"):
        await notes.write(adding(9))


async def test_a_reader_sees_positions_strictly_increasing_without_gaps(notes: Database) -> None:
    """Whoever has seen position n has seen every row up to n (and every other writer fails)."""
    done = False

    async def write(number: int) -> None:
        async def job(txn: Transaction) -> None:
            txn.add(ADD, (txn.next_position(), "note"))
            if number % 3 == 0:
                await txn.execute("UPDATE notes SET text = ? WHERE id = ?", ("seen", 1))
            if number % 2:
                raise Refused

        for _ in range(10):
            try:
                await notes.write(job)
            except Refused:
                assert number % 2

    async def watch() -> int:
        newest = looks = 0
        while not done:
            rows = await notes.fetch_all(
                "SELECT position, (SELECT COUNT(*) FROM notes), (SELECT COALESCE(MAX(id), 0) FROM notes) FROM stream"
            )
            position, count, largest = rows[0]
            assert position == count == largest >= newest
            newest = position
            looks += 1
        return looks

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(write(number) for number in range(12)))
    done = True
    assert await watching > 1
    assert notes.position == 60


@ON_ALL_DRIVERS
async def test_other_processes_positions_are_told_before_the_next_job_runs(
    notes: Database, database_location: str, database_engine: str
) -> None:
    seen: list[Any] = []
    notes.on_foreign_position(lambda old, new: seen.append((old, new, notes.position)))

    async def job(txn: Transaction) -> int:
        seen.append("job")
        return txn.next_position()

    await _move_stream(notes, database_engine, database_location, 5)
    assert await notes.write(job) == 6
    assert seen == [(0, 5, 0), "job"]
    assert await notes.refresh_position() == 6
    await _move_stream(notes, database_engine, database_location, 9)
    assert await notes.refresh_position() == 9 == notes.position
    assert seen[2:] == [(6, 9, 6)]


@ON_ALL_DRIVERS
async def test_a_failing_listener_refuses_the_batch_and_is_asked_again(
    notes: Database, database_location: str, database_engine: str
) -> None:
    calls: list[int] = []

    async def listener(old: int, new: int) -> None:
        calls.append(new)
        if len(calls) == 1:
            raise Refused

    notes.on_foreign_position(listener)
    await _move_stream(notes, database_engine, database_location, 5)
    with pytest.raises(Unavailable):
        await notes.write(adding(1))
    assert await notes.write(adding(2)) == 6
    assert calls == [5, 5]


async def _move_stream(own: Database, engine: str, location: str, position: int) -> None:
    """Do as another process would: set the counter on a connection of one's own."""
    from homeserver.clock import SystemClock
    from homeserver.storage.opening import open_database
    from homeserver.storage.synchronous import SynchronousDatabase

    if isinstance(own, SynchronousDatabase):
        own._connection.execute("UPDATE stream SET position = ?", (position,))
        return
    other = await open_database(location, SystemClock())

    async def job(txn: Transaction) -> None:
        while txn.next_position() < position:
            pass

    await other.write(job)
    await other.close()
