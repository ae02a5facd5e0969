"""What the writer does when the machine fails: nothing is acknowledged that is not there, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.protocol.errors import Unavailable
from homeserver.storage.database import InputOutputFailed, Job, StatementRefused, Transaction
from homeserver.storage.writer import Writer
from tests.storage.faulty_engine import Step, over_memory
from tests.support.clock import settle

ADD = "INSERT INTO notes (id, text) VALUES (?, ?)"


class Bench:
    """A writer task over an engine that fails on demand."""

    def __init__(self) -> None:
        self.engine, self.connection = over_memory()
        self.writer = Writer(self.engine, 0)

    def notes(self) -> list[int]:
        return [number for (number,) in self.connection.execute("SELECT id FROM notes ORDER BY id")]

    async def write_all(self, *numbers: int) -> list[Any]:
        jobs = (self.writer.write(adding(number)) for number in numbers)
        return await asyncio.gather(*jobs, return_exceptions=True)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.writer.close()
    bench.connection.close()


def adding(number: int, *, now: bool = False) -> Job[int]:
    async def job(txn: Transaction) -> int:
        if now:
            await txn.execute(ADD, (number, "x"))
        else:
            txn.add(ADD, (number, "x"))
        return txn.next_position()

    return job


@pytest.mark.parametrize("step", ["begin", "run", "execute", "commit"])
async def test_a_full_disk_refuses_the_batch_and_writing_recovers_without_a_restart(bench: Bench, step: Step) -> None:
    assert await bench.write_all(1) == [1]
    bench.engine.failures[step] = Unavailable("The disk is full.")
    jobs = [adding(2), adding(3, now=True), adding(4)]
    results = await asyncio.gather(*(bench.writer.write(job) for job in jobs), return_exceptions=True)
    assert [str(result) for result in results] == ["The disk is full."] * 3
    assert len({id(result) for result in results}) == 3  # each caller has an exception of its own
    assert (bench.notes(), bench.writer.position) == ([1], 1)
    assert await bench.write_all(5, 6) == [2, 3]
    assert bench.notes() == [1, 5, 6]


@pytest.mark.parametrize("step", ["run", "execute", "commit"])
async def test_after_an_io_error_nothing_is_written_until_the_database_is_opened_again(
    bench: Bench, step: Step, caplog: pytest.LogCaptureFixture
) -> None:
    assert await bench.write_all(1) == [1]
    bench.engine.failures[step] = InputOutputFailed("The disk failed.")
    jobs = [adding(2), adding(3, now=True)]
    results = await asyncio.gather(*(bench.writer.write(job) for job in jobs), return_exceptions=True)
    assert [type(result) for result in results] == [InputOutputFailed] * 2
    for _ in range(3):
        with pytest.raises(Unavailable, match="The disk failed"):
            await bench.writer.write(adding(4))
    assert bench.notes() == [1]
    assert "no more writes" in caplog.text
    assert await Writer(bench.engine, 1, inline=True).write(adding(5)) == 2  # opened again


async def test_what_is_queued_behind_an_io_error_is_refused_too(bench: Bench) -> None:
    bench.engine.failures["commit"] = InputOutputFailed("The disk failed.")
    first = asyncio.create_task(bench.writer.write(adding(1)))
    await asyncio.sleep(0)
    rest = [asyncio.create_task(bench.writer.write(adding(number))) for number in range(2, 6)]
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert [type(result) for result in results] == [InputOutputFailed] * 5
    assert bench.notes() == []


async def test_a_refused_flush_is_traced_to_its_job_by_running_each_alone(bench: Bench) -> None:
    bench.engine.failures["commit"] = StatementRefused("something in this batch")
    assert await bench.write_all(1, 2, 3) == [1, 2, 3]
    assert bench.engine.commits == 3


async def test_a_job_that_looked_and_then_raises_leaves_nothing_of_what_it_added_after_the_look(bench: Bench) -> None:
    async def job(txn: Transaction) -> None:
        await txn.fetch_value("SELECT COUNT(*) FROM notes")  # flushes the predecessor's rows, none of its own
        txn.add(ADD, (2, "x"))
        raise KeyError

    jobs = [adding(1), job, adding(3)]
    results = await asyncio.gather(*(bench.writer.write(job) for job in jobs), return_exceptions=True)
    assert [results[0], type(results[1]), results[2]] == [1, KeyError, 2]
    assert (bench.notes(), bench.engine.commits) == ([1, 3], 1)


async def test_a_batch_without_failures_is_one_commit(bench: Bench) -> None:
    assert await bench.write_all(*range(1, 31)) == list(range(1, 31))
    assert bench.engine.commits == 1


async def test_jobs_that_write_nothing_cost_no_commit_and_their_callbacks_are_called(bench: Bench) -> None:
    seen: list[str] = []

    async def look(txn: Transaction) -> Any:
        txn.on_commit(lambda: seen.append("told"))
        return await txn.fetch_value("SELECT COUNT(*) FROM notes")

    assert await bench.writer.write(look) == 0
    assert (bench.engine.commits, seen) == (0, ["told"])


async def test_on_abort_is_called_for_every_job_when_the_database_cannot_commit(bench: Bench) -> None:
    seen: list[str] = []

    def remembering(name: str) -> Job[None]:
        async def job(txn: Transaction) -> None:
            txn.on_commit(lambda: seen.append(f"{name} committed"))
            txn.on_abort(lambda: seen.append(f"{name} aborted"))
            txn.next_position()

        return job

    bench.engine.failures["commit"] = Unavailable("The disk is full.")
    jobs = [remembering("a"), remembering("b")]
    await asyncio.gather(*(bench.writer.write(job) for job in jobs), return_exceptions=True)
    assert seen == ["a aborted", "b aborted"]
    await asyncio.gather(*(bench.writer.write(job) for job in jobs))
    assert seen[2:] == ["a committed", "b committed"]


async def test_on_abort_is_called_after_predecessors_are_committed_and_before_successors_run(bench: Bench) -> None:
    seen: list[str] = []

    def job_named(name: str) -> Job[None]:
        async def job(txn: Transaction) -> None:
            seen.append(name)
            txn.add(ADD, (ord(name), name))
            txn.on_commit(lambda: seen.append(f"{name} committed"))
            if name == "b":
                txn.on_abort(lambda: seen.append(f"b aborted on {bench.notes()}"))
                raise KeyError(name)

        return job

    await asyncio.gather(*(bench.writer.write(job_named(name)) for name in "abc"), return_exceptions=True)
    assert seen == ["a", "b", "a", "a committed", "b", "b aborted on [97]", "c", "c committed"]


async def test_a_callback_that_raises_is_logged_and_harms_nobody(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def job(txn: Transaction) -> int:
        txn.on_commit(lambda: seen.remove("missing"))
        return txn.next_position()

    assert await bench.writer.write(job) == 1
    assert await bench.write_all(1) == [2]
    assert "callback of a transaction raised" in caplog.text


async def test_those_who_are_refused_come_first_before_any_later_job_runs(bench: Bench) -> None:
    """They may have to take back what a later job was built on."""
    seen: list[str] = []
    bench.engine.failures["begin"] = Unavailable("no connection")

    async def first() -> None:
        try:
            await bench.writer.write(adding(1))
        except Unavailable:
            seen.append("taken back")

    async def job(txn: Transaction) -> None:
        seen.append("later job")

    task = asyncio.create_task(first())
    await settle(1)
    while not seen:
        await settle(1)
        if not bench.engine.failures:
            await bench.writer.write(job)
            break
    await task
    assert seen == ["taken back", "later job"]


async def test_a_database_that_went_back_in_time_is_not_written_to(bench: Bench) -> None:
    await bench.write_all(1, 2)
    bench.connection.execute("UPDATE stream SET position = 1")
    with pytest.raises(Unavailable, match="went back from position 2 to 1"):
        await bench.writer.write(adding(3))
    assert bench.notes() == [1, 2]


async def test_a_writer_whose_task_is_cancelled_answers_everybody(bench: Bench) -> None:
    hold = asyncio.Event()

    async def wait(txn: Transaction) -> None:
        txn.add(ADD, (1, "x"))
        await hold.wait()

    running = asyncio.create_task(bench.writer.write(wait))
    await settle()
    queued = asyncio.create_task(bench.writer.write(adding(2)))
    await settle()
    assert bench.writer._task is not None
    bench.writer._task.cancel()
    results = await asyncio.gather(running, queued, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 2
    assert bench.notes() == []
    with pytest.raises(Unavailable):
        await bench.writer.write(adding(3))


async def test_a_mistake_within_the_engine_fails_its_batch_and_not_the_writer(bench: Bench) -> None:
    bench.engine.failures["committed"] = ZeroDivisionError("a bug")  # not an error that an engine may raise
    assert [type(result) for result in await bench.write_all(1)] == [ZeroDivisionError]
    assert await bench.write_all(2) == [2]


async def test_more_jobs_than_one_batch_takes_are_all_written_in_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homeserver.storage.writer.LARGEST_BATCH", 7)
    assert await bench.write_all(*range(20)) == list(range(1, 21))
    assert bench.engine.commits == 3
