"""Who waits is woken by what concerns them, by nothing else, and at the latest when their time is up."""

from __future__ import annotations

import asyncio

import pytest

from homeserver.notifier import Notifier
from homeserver.stream import Change, Stream
from tests.support.clock import FakeClock, settle


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def stream() -> Stream:
    return Stream(0)


@pytest.fixture
def notifier(stream: Stream, clock: FakeClock) -> Notifier:
    return Notifier(stream, clock)


async def test_waiting_ends_when_time_is_up(notifier: Notifier, clock: FakeClock) -> None:
    waiting = asyncio.create_task(notifier.wait("@a", 10))
    await clock.advance(9)
    assert not waiting.done()
    await clock.advance(1)
    assert await waiting is False
    assert clock.pending == 0


async def test_change_of_the_user_or_of_a_followed_room_wakes(
    notifier: Notifier, stream: Stream, clock: FakeClock
) -> None:
    notifier.follow_rooms("@a", ["!r"])
    for rooms, users in ((("!r",), ()), ((), ("@a",))):
        waiting = asyncio.create_task(notifier.wait("@a", 10))
        await settle()
        stream.announce(Change.EVENTS, 1, rooms=("!other",), users=("@b",))
        await settle()
        assert not waiting.done()
        stream.announce(Change.EVENTS, 2, rooms=rooms, users=users)
        assert await waiting is True
    assert clock.pending == 0


async def test_change_between_expecting_and_waiting_is_not_missed(notifier: Notifier, stream: Stream) -> None:
    waiter = notifier.expect("@a")
    stream.announce(Change.TO_DEVICE, 1, users=("@a",))
    assert await notifier.wait_for(waiter, 10) is True


async def test_left_room_wakes_nobody(notifier: Notifier, stream: Stream, clock: FakeClock) -> None:
    notifier.follow_rooms("@a", ["!r", "!s"])
    notifier.follow_room("@a", "!r", False)
    notifier.follow_room("@a", "!t", True)
    notifier.follow_room("@nobody", "!t", True)
    waiting = asyncio.create_task(notifier.wait("@a", 10))
    await settle()
    stream.announce(Change.EVENTS, 1, rooms=("!r",))
    await settle()
    assert not waiting.done()
    stream.announce(Change.EVENTS, 2, rooms=("!t",))
    assert await waiting is True


async def test_cancelled_waiter_is_cancelled(notifier: Notifier, clock: FakeClock) -> None:
    waiting = asyncio.create_task(notifier.wait("@a", 10))
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert clock.pending == 0


async def test_expecting_is_not_following(notifier: Notifier) -> None:
    notifier.expect("@a").cancel()
    assert not notifier.follows("@a")
    notifier.follow_rooms("@a", [])
    assert notifier.follows("@a")


async def test_closing_wakes_everybody_for_good(notifier: Notifier) -> None:
    waiting = asyncio.create_task(notifier.wait("@a", 10))
    await settle()
    notifier.close()
    assert await waiting is False
    assert await notifier.wait("@b", 10) is False
