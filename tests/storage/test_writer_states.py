"""Random jobs, failures and cancelled callers, held against a dictionary that is simply right."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from homeserver.protocol.errors import Unavailable
from homeserver.storage.database import ConstraintViolated, StatementRefused, Transaction
from homeserver.storage.writer import Writer
from tests.storage.faulty_engine import FaultyEngine, over_memory

ADD = "INSERT INTO notes (id, text) VALUES (?, ?)"
DELETE = "DELETE FROM notes WHERE id = ?"
SET = "INSERT INTO marks (id, text) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET text = excluded.text"

NUMBERS = st.integers(0, 5)
TEXTS = st.sampled_from("abc")
ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["add", "insert"]), NUMBERS, TEXTS),
    st.tuples(st.just("put"), NUMBERS, TEXTS),
    st.tuples(st.just("delete"), NUMBERS),
    st.tuples(st.sampled_from(["position", "count", "returning"])),
    st.tuples(st.sampled_from(["raise", "cancel", "abort"])),
)
JOBS = st.lists(ACTIONS, max_size=4)


class Refused(Exception):
    """What a job of the test raises."""


class State:
    """What the database should hold."""

    def __init__(self) -> None:
        self.notes: dict[int, str] = {}
        self.marks: dict[int, str] = {}
        self.position = 0

    def copy(self) -> State:
        copy = State()
        copy.notes, copy.marks, copy.position = dict(self.notes), dict(self.marks), self.position
        return copy

    def run(self, actions: list[tuple[Any, ...]]) -> list[Any]:
        """What the job answers; raises what it raises. After that, this state is of no use."""
        answers: list[Any] = []
        violated = False
        for action in actions:
            match action:
                case ("add" | "insert", number, text):
                    violated = violated or number in self.notes
                    if violated and action[0] == "insert":
                        raise ConstraintViolated
                    self.notes.setdefault(number, text)
                case ("put", number, text):
                    self.marks[number] = text
                case ("delete", number):
                    if violated:
                        raise ConstraintViolated
                    answers.append(self.notes.pop(number, None) is not None)
                case ("position",):
                    self.position += 1
                    answers.append(self.position)
                case ("count",):
                    if violated:
                        raise ConstraintViolated
                    answers.append(len(self.notes))
                case ("returning",):
                    if violated:
                        raise ConstraintViolated
                    answers.append(len(self.notes))
                    self.notes.clear()
                case ("raise",):
                    raise Refused
                case ("cancel",):
                    raise asyncio.CancelledError
        if violated:
            raise ConstraintViolated
        return answers


class WriterStates(RuleBasedStateMachine):
    """The writer over SQLite in memory; `memory` follows it by `on_commit`, as caches do."""

    @initialize(inline=st.booleans())
    def open(self, inline: bool) -> None:
        self.loop = asyncio.new_event_loop()
        self.engine: FaultyEngine
        self.engine, self.connection = over_memory()
        self.connection.execute("CREATE TABLE marks (id BIGINT NOT NULL PRIMARY KEY, text TEXT NOT NULL)")
        self.inline = inline
        self.writer = Writer(self.engine, 0, inline=inline)
        self.state = State()
        self.memory: list[list[tuple[Any, ...]]] = []
        self.committed: list[list[tuple[Any, ...]]] = []
        self.foreign: list[tuple[int, int]] = []
        self.writer.listen(lambda old, new: self.foreign.append((old, new)))

    def job(self, actions: list[tuple[Any, ...]]) -> Any:
        async def job(txn: Transaction) -> list[Any]:
            answers: list[Any] = []
            txn.on_commit(lambda: self.memory.append(actions))
            for action in actions:
                match action:
                    case ("add", number, text):
                        txn.add(ADD, (number, text))
                    case ("insert", number, text):
                        await txn.execute(ADD, (number, text))
                    case ("put", number, text):
                        txn.put(SET, number, (number, text))
                    case ("delete", number):
                        answers.append(await txn.execute(DELETE, (number,)) == 1)
                    case ("position",):
                        answers.append(txn.next_position())
                    case ("count",):
                        answers.append(await txn.fetch_value("SELECT COUNT(*) FROM notes"))
                    case ("returning",):
                        answers.append(len(await txn.fetch_all("DELETE FROM notes RETURNING id")))
                    case ("raise",):
                        raise Refused
                    case ("cancel",):
                        raise asyncio.CancelledError
                    case ("abort",):
                        txn.on_abort(lambda: None)
            return answers

        return job

    async def write(self, jobs: list[list[tuple[Any, ...]]], cancelled: set[int]) -> list[Any]:
        tasks = [asyncio.ensure_future(self.writer.write(self.job(actions))) for actions in jobs]
        await asyncio.sleep(0)
        for number in cancelled:
            if number < len(tasks):
                tasks[number].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    def expect(self, actions: list[tuple[Any, ...]]) -> Any:
        """Run a job on the model: its answer, or the type of what it raises."""
        after = self.state.copy()
        try:
            answer = after.run(actions)
        except (Refused, ConstraintViolated, asyncio.CancelledError) as error:
            return type(error)
        self.state = after
        self.committed.append(actions)
        return answer

    @rule(jobs=st.lists(JOBS, min_size=1, max_size=6), cancelled=st.sets(st.integers(0, 5), max_size=2))
    def write_together(self, jobs: list[list[tuple[Any, ...]]], cancelled: set[int]) -> None:
        results = self.loop.run_until_complete(self.write(jobs, cancelled))
        for number, (actions, result) in enumerate(zip(jobs, results, strict=True)):
            expected = self.expect(actions)
            if number in cancelled and not self.inline:
                assert isinstance(result, asyncio.CancelledError)
            else:
                assert _answer_of(result) == expected

    @rule(jobs=st.lists(JOBS, min_size=1, max_size=4), step=st.sampled_from(["begin", "commit"]))
    def write_to_a_full_disk(self, jobs: list[list[tuple[Any, ...]]], step: Any) -> None:
        """One batch is refused as a whole."""
        jobs = [[action for action in actions if action[0] in ("put", "position")] for actions in jobs]
        jobs[0].append(("position",))  # something to commit
        self.engine.failures[step] = Unavailable("full")
        results = self.loop.run_until_complete(self.write(jobs[:1] if self.inline else jobs, set()))
        assert {type(result) for result in results} == {Unavailable}
        assert not self.engine.failures

    @rule(jobs=st.lists(JOBS, min_size=2, max_size=5))
    def write_with_a_refused_flush(self, jobs: list[list[tuple[Any, ...]]]) -> None:
        """A commit is refused once, whoever's row it was: the batch's, or that of one job which runs alone."""
        self.engine.failures["commit"] = StatementRefused("once")
        results = self.loop.run_until_complete(self.write(jobs, set()))
        assert [type(result) for result in results].count(StatementRefused) <= 1
        for actions, result in zip(jobs, results, strict=True):
            if type(result) is not StatementRefused:
                assert _answer_of(result) == self.expect(actions)
        self.engine.failures.clear()

    @rule(steps=st.integers(1, 3))
    def another_process_writes(self, steps: int) -> None:
        old, new = self.state.position, self.state.position + steps
        self.connection.execute("UPDATE stream SET position = ?", (new,))
        before = len(self.foreign)
        self.state.position = new
        self.loop.run_until_complete(self.write([[]], set()))
        self.committed.append([])
        assert self.foreign[before:] == [(old, new)]

    @invariant()
    def database_and_memory_hold_what_was_answered(self) -> None:
        if not hasattr(self, "state"):
            return
        assert dict(self.connection.execute("SELECT id, text FROM notes")) == self.state.notes
        assert dict(self.connection.execute("SELECT id, text FROM marks")) == self.state.marks
        assert self.connection.execute("SELECT position FROM stream").fetchone()[0] == self.state.position
        assert self.writer.position == self.state.position
        assert self.memory == self.committed
        assert not self.connection.in_transaction

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.writer.close())
            self.loop.close()
            self.connection.close()


def _answer_of(result: Any) -> Any:
    return type(result) if isinstance(result, BaseException) else result


TestWriterStates = WriterStates.TestCase
TestWriterStates.settings = settings(max_examples=80, stateful_step_count=15, deadline=None)
