"""The one writer: takes every job that waits, runs them in one transaction, commits, and answers all of them.

While one batch is being committed the next one gathers, so the more writers there are, the more share one fsync.
The asynchronous drivers run it as a task; the synchronous driver runs it in the caller's own turn (`inline`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from homeserver.protocol.errors import Unavailable
from homeserver.storage.batch import Batch, Engine
from homeserver.storage.database import ForeignListener, InputOutputFailed, Job, T

LARGEST_BATCH = 500
"""Jobs in one transaction, so that nobody's answer waits for an endless one."""

CLOSED = "The database is closed: the server is stopping."

logger = logging.getLogger(__name__)


class _Entry:
    """A job and the caller who waits for it."""

    __slots__ = ("answer", "job")

    def __init__(self, job: Job[Any], answer: asyncio.Future[Any]) -> None:
        self.job = job
        self.answer = answer

    def succeed(self, result: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Writer:
    """Queue and batches over an `Engine`. `position`: the newest committed one that this process knows."""

    def __init__(self, engine: Engine, position: int, *, inline: bool = False) -> None:
        self.position = position
        self._engine = engine
        self._inline = inline
        self._waiting: deque[_Entry] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Lock()
        self._listeners: list[ForeignListener] = []
        self._broken: InputOutputFailed | None = None
        self._closing = False
        self._task: asyncio.Task[Any] | None = None
        self._successor: asyncio.Future[None] | None = None

    async def write(self, job: Job[T]) -> T:
        """See `Database.write`."""
        if self._broken is not None:
            raise _again(self._broken)
        if self._closing:
            raise Unavailable(CLOSED)
        if self._task is asyncio.current_task() and self._task is not None:
            raise RuntimeError("A job called Database.write: a job writes through its own transaction only.")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(job, answer))
        if self._inline:
            await self._run_inline(answer)
        else:
            if self._task is None:
                self._task = asyncio.create_task(self._run_task(), name="storage writer")
            self._wake.set()
        return await answer

    def listen(self, listener: ForeignListener) -> None:
        self._listeners.append(listener)

    async def learn(self, position: int) -> None:
        """Take note of the counter as it stands in the database; call only between batches."""
        old = self.position
        if position > old:
            for listener in self._listeners:
                called = listener(old, position)
                if called is not None:
                    await called
            self.position = position

    def between_batches(self) -> asyncio.Lock:
        """Held during each batch; who holds it otherwise keeps the next one waiting."""
        return self._idle

    async def close(self) -> None:
        """Write what is queued, then stop."""
        self._closing = True
        task = self._task
        if task is not None and not self._inline:
            self._wake.set()
            await asyncio.wait([task])

    async def _run_inline(self, own: asyncio.Future[Any] | None = None) -> None:
        if self._task is not None:
            return  # a job really waits for something: whoever runs it takes this one too
        self._task = asyncio.current_task()
        try:
            while self._waiting:
                await self._run_waiting()
                if own is not None and own.done() and not own.cancelled() and own.exception() is not None:
                    break  # who fails comes first, here too
        finally:
            self._task = None
            if self._waiting:  # this caller failed, or was cancelled in the middle: somebody else's turn
                self._successor = asyncio.ensure_future(self._run_inline())

    async def _run_task(self) -> None:
        try:
            while True:
                if not self._waiting:
                    if self._closing:
                        return
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                await self._run_waiting()
        finally:
            self._closing = True
            while self._waiting:
                self._waiting.popleft().fail(Unavailable(CLOSED))

    async def _run_waiting(self) -> None:
        async with self._idle:
            begun = await self._begin()
            # Only now: whoever was answered by the last batch and asked again while this one began is part of it.
            count = min(len(self._waiting), LARGEST_BATCH)
            if isinstance(begun, Exception):
                count = len(self._waiting)
            entries = [self._waiting.popleft() for _ in range(count)]
            try:
                await self._run_batch(entries, begun)
            except BaseException as error:  # the task is cancelled, or a mistake in here: nobody waits for ever
                await self._engine.rollback()
                for entry in entries:
                    entry.fail(error if isinstance(error, Exception) else Unavailable(CLOSED))
                if not isinstance(error, Exception):
                    raise
                logger.exception("The writer failed; its batch was rolled back")

    async def _begin(self) -> Batch | Exception:
        if self._broken is not None:
            return self._broken
        try:
            position = await self._engine.begin()
        except Exception as error:
            return error
        if position < self.position:
            await self._engine.rollback()
            return Unavailable(
                f"The database went back from position {self.position} to {position}, such as by a restored copy: "
                "restart the server."
            )
        try:
            await self.learn(position)
        except Exception as error:
            logger.exception("A listener for positions of other processes failed; the batch is refused")
            await self._engine.rollback()
            return Unavailable(f"The server could not follow what another process wrote: {error}")
        return Batch(self._engine, position)

    async def _run_batch(self, entries: Sequence[_Entry], begun: Batch | Exception) -> None:
        if isinstance(begun, Exception):
            _fail_all(entries, begun)
            await asyncio.sleep(0)  # those who fail come first: they may take something back before other jobs run
            return
        results: list[tuple[Any, BaseException | None]] = []
        failure: BaseException | None = None  # what the last job raised, or else the database
        for entry in entries:
            begun.begin_job()
            try:
                results.append((await entry.job(begun), None))
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                    raise
                if begun.undo_job():
                    results.append((None, error))
                    continue
                failure = error
            failure = failure or begun.failure
            if failure is not None:
                break
        if failure is None:
            failure = await self._commit(begun)
        else:
            await self._engine.rollback()
        if failure is None:
            _call(begun.commit_callbacks)
            for entry, (result, raised) in zip(entries, results, strict=True):
                entry.succeed(result) if raised is None else entry.fail(raised)
        elif isinstance(begun.failure, Unavailable):
            if isinstance(begun.failure, InputOutputFailed):
                logger.critical("The disk failed; no more writes until the database is opened again: %s", begun.failure)
                self._broken = begun.failure
            _call(begun.abort_callbacks)
            _fail_all(entries, begun.failure)
            await asyncio.sleep(0)
        elif len(entries) == 1:
            _call(begun.abort_callbacks)
            entries[0].fail(failure)
        else:
            for entry in entries:
                await self._run_batch([entry], await self._begin())

    async def _commit(self, batch: Batch) -> Exception | None:
        """None when it is on disk; else the database's error, and nothing was changed."""
        if batch.is_empty:
            await self._engine.rollback()
            return None
        try:
            await self._engine.commit(batch.take_groups(), batch.position)
        except Exception as error:
            batch.failure = error
            return error
        self.position = batch.position
        return None


def _is_cancelled() -> bool:
    """Whether somebody cancels the task that runs the batch, rather than a job something of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _again(error: Unavailable) -> Unavailable:
    """The same error for one more caller: a raised exception belongs to whoever catches it."""
    copy = type(error)(error.message, **error.extra)
    copy.__cause__ = error
    return copy


def _call(callbacks: Sequence[Callable[[], None]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:
            logger.exception("A callback of a transaction raised, which it must not")


def _fail_all(entries: Sequence[_Entry], error: Exception) -> None:
    for entry in entries:
        entry.fail(_again(error) if isinstance(error, Unavailable) else error)
