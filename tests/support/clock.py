"""A clock that tests own: time passes only when a test says so, and what is due then happens in order."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable

from tests.support.in_flight import in_flight

START_MS = 1_700_000_000_000
TURNS = 20
LONGEST_WAIT_SECONDS = 5.0


async def settle(turns: int = TURNS, *, waits_for_databases: bool = True) -> None:
    """Let the tasks that are ready run: `turns` rounds of the loop, and again when a database has answered one of them.
    Does not wait for other threads or for sockets, and not for ever for a database that a test holds up."""
    end = time.monotonic() + (LONGEST_WAIT_SECONDS if waits_for_databases else 0.0)
    while True:
        for _ in range(turns):
            await asyncio.sleep(0)
        if not in_flight.count or time.monotonic() > end:
            return
        while in_flight.count and time.monotonic() < end:  # noqa: ASYNC110 - databases tell nobody
            await asyncio.sleep(0.0005)


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
        self.waits_for_databases = True
        """Whether `advance` returns only when no database is asked anything."""

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
        await settle(waits_for_databases=self.waits_for_databases)
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heapq.heappop(self._timers)
            if timer.cancelled:
                continue
            self._monotonic = max(self._monotonic, due)
            timer.callback()
            await settle(waits_for_databases=self.waits_for_databases)
        self._monotonic = end
        await settle(waits_for_databases=self.waits_for_databases)
