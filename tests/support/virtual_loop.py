"""An asyncio loop on a time of its own, for the simulation: nothing waits, and the same seed runs the same way again.

When nothing is ready, time jumps to the next timer. There are no sockets and no threads. Every task knows the process
(`Process`) that it belongs to, so that a process can be killed with all that it was doing.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import secrets
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
START_MS = 1_700_000_000_000

_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("simulated process", default=None)


class Stuck(Exception):
    """Everybody waits, and nothing will ever happen."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in order; its own selector, which finds nothing and takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = self
        self._scheduled: list[asyncio.TimerHandle]
        self.complaints: list[str] = []
        """What nobody caught."""
        self.set_task_factory(_make_task)
        self.set_exception_handler(self._complain)

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """Let time pass, if nothing can happen before."""
        if timeout is None:
            raise Stuck
        if timeout > 0:
            self._now = max(self._now, min(self._scheduled[0].when(), self._now + timeout))
        return []

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Any, context: contextvars.Context | None = None
) -> asyncio.Task[Any]:
    task = asyncio.Task(coroutine, loop=loop, context=context)
    process = _process.get() if context is None else context.get(_process)
    if process is not None:
        process.tasks.append(task)
        if len(process.tasks) > process.tidy_at:
            process.tasks = [one for one in process.tasks if not one.done()]
            process.tidy_at = 2 * len(process.tasks) + 200
    return task


class Process:
    """What runs between a start and a crash."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.tasks: list[asyncio.Task[Any]] = []
        self.tidy_at = 200

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin something in the process, whoever asks for it."""
        context = contextvars.copy_context()
        context.run(_process.set, self)
        return asyncio.get_running_loop().create_task(coroutine, context=context)

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T | None:
        """The result of something that the process does; None when it dies meanwhile."""
        if not self.alive:
            coroutine.close()
            return None
        task = self.spawn(coroutine)
        await asyncio.wait([task])
        return None if task.cancelled() or not self.alive else task.result()

    async def kill(self) -> None:
        """The process is gone. What its tasks still do on their way out reaches nothing (`alive`)."""
        self.alive = False
        for _ in range(50):
            left = [task for task in self.tasks if not task.done()]
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.sleep(0)
        raise AssertionError(f"these do not end when they are cancelled: {left}")


def current_process() -> Process | None:
    """Whose code is running."""
    return _process.get()


class ProcessClock:
    """`homeserver.clock.Clock` of a process, whose wall clock may be wrong by `skew_ms`."""

    def __init__(self, loop: VirtualLoop, process: Process, skew_ms: int = 0) -> None:
        self._loop = loop
        self._process = process
        self._skew_ms = skew_ms

    def now_ms(self) -> int:
        return START_MS + self._skew_ms + round(self._loop.time() * 1000)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))

    def call_later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        def call() -> None:
            if self._process.alive:
                callback()

        return self._loop.call_later(max(seconds, 0.0), call)


@contextmanager
def seeded_secrets(seed: str) -> Iterator[None]:
    """Chance of the module `secrets`, which tokens and ids come from, is that of a seed meanwhile."""
    source = random.Random(seed)
    kept = secrets._sysrand, secrets.choice, secrets.randbits  # type: ignore[attr-defined]
    secrets._sysrand, secrets.choice, secrets.randbits = source, source.choice, source.getrandbits  # type: ignore
    try:
        yield
    finally:
        secrets._sysrand, secrets.choice, secrets.randbits = kept  # type: ignore[attr-defined]


def run_virtually(main: Callable[[], Coroutine[Any, Any, T]], seed: str) -> T:
    """Run a coroutine to its end on a new virtual loop."""
    loop = VirtualLoop()
    try:
        with seeded_secrets(seed):
            return loop.run_until_complete(main())
    finally:
        loop.close()
