"""The tests' own clock keeps its promises."""

from __future__ import annotations

import asyncio

from homeserver.clock import Clock
from tests.support.clock import START_MS, FakeClock, settle


async def test_timers_fire_in_order_of_time_each_at_its_own_moment() -> None:
    clock = FakeClock()
    seen: list[tuple[str, float]] = []
    clock.call_later(2, lambda: seen.append(("late", clock.monotonic())))
    clock.call_later(1, lambda: seen.append(("early", clock.monotonic())))
    await clock.advance(1.5)
    assert seen == [("early", 1.0)]
    await clock.advance(1.5)
    assert seen == [("early", 1.0), ("late", 2.0)]
    assert (clock.monotonic(), clock.now_ms()) == (3.0, START_MS + 3000)


async def test_a_timer_set_by_a_timer_fires_in_the_same_advance_when_it_is_due() -> None:
    clock: Clock = FakeClock()
    seen: list[float] = []

    async def tick() -> None:
        for _ in range(3):
            await clock.sleep(1)
            seen.append(clock.monotonic())

    task = asyncio.create_task(tick())
    assert isinstance(clock, FakeClock)
    await clock.advance(10)
    await task
    assert seen == [1.0, 2.0, 3.0]


async def test_cancelled_timers_and_sleeps_do_nothing_and_do_not_stay() -> None:
    clock = FakeClock()
    seen: list[str] = []
    clock.call_later(1, lambda: seen.append("timer")).cancel()
    sleeper = asyncio.create_task(clock.sleep(1))
    await settle()
    assert clock.pending == 1
    sleeper.cancel()
    await clock.advance(2)
    assert (seen, clock.pending, sleeper.cancelled()) == ([], 0, True)


async def test_the_wall_clock_can_jump_without_firing_timers() -> None:
    clock = FakeClock()
    seen: list[str] = []
    clock.call_later(1, lambda: seen.append("timer"))
    clock.jump_wall_clock(-3_600_000)
    await settle()
    assert (seen, clock.now_ms(), clock.monotonic()) == ([], START_MS - 3_600_000, 0.0)
