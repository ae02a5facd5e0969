"""A clock that tests own: time passes only when a test says so, and what is due then happens in order."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

START_MS = 1_700_000_000_000
TURNS = 20


async def settle(turns: int = TURNS) -> None:
    """Let the tasks that are ready run: `turns` rounds of the loop. Does not wait for threads or sockets."""
    for _ in range(turns):
        await asyncio.sleep(0)


class FakeTimer:
    """A call at `due` (monotonic seconds), until it is cancelled."""

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeClock:
    """`homeserver.clock.Clock` for tests: starts at `start_ms`, moves by `advance`."""

    def __init__(self, start_ms: int = START_MS) -> None:
        self._start_ms = start_ms
        self._monotonic = 0.0
        self._jumped_ms = 0
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._order = itertools.count()

    def now_ms(self) -> int:
        return self._start_ms + self._jumped_ms + round(self._monotonic * 1000)

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, lambda: None if woken.done() else woken.set_result(None))
        try:
            await woken
        finally:
            timer.cancel()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(self._monotonic + max(seconds, 0.0), callback)
        heapq.heappush(self._timers, (timer.due, next(self._order), timer))
        return timer

    @property
    def pending(self) -> int:
        """How many timers wait: a test may check that nothing was left behind."""
        return sum(not timer.cancelled for _, _, timer in self._timers)

    def jump_wall_clock(self, milliseconds: int) -> None:
        """Move the wall clock alone, as NTP or an operator does; no timer fires."""
        self._jumped_ms += milliseconds

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: each timer due until then fires at its own time, and ready tasks run after each."""
        end = self._monotonic + seconds
        await settle()
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            if timer.cancelled:
                continue
            self._monotonic = max(self._monotonic, due)
            timer.callback()
            await settle()
        self._monotonic = end
        await settle()
