"""Events of other servers that come together are judged as if each had come by itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from homeserver.protocol.events import Event
from homeserver.rooms.receiving import Accepted, Known, SoftFailed
from tests.support.replicas import Replica, SharedRoom, open_shared_room

TOGETHER = 50


def arriving(shared: SharedRoom, at: Replica) -> list[Event]:
    """What waits for a server, in the order in which it was sent."""
    found = [event for replica, event in shared.waiting if replica is at]
    shared.waiting = [(replica, event) for replica, event in shared.waiting if replica is not at]
    return [Event(event.pdu, event.room_version) for event in found]


async def bring(at: Replica, events: Sequence[Event], together: int) -> None:
    for start in range(0, len(events), together):
        for outcome in await at.rooms.receiver.receive_all(events[start : start + together]):
            assert isinstance(outcome, Accepted), outcome


async def two_branches(shared: SharedRoom, length: int) -> None:
    """The first two servers write while they do not hear of each other."""
    one, two = shared.replicas[:2]
    await shared.send(one, "m.room.topic", {"topic": "one"}, "")
    await shared.send(one, "m.room.member", {"membership": "join", "displayname": "One"}, one.user())
    await shared.send(one, "m.room.message", {"body": "one"})
    await shared.send(two, "m.room.topic", {"topic": "two"}, "")
    for number in range(length):
        await shared.send(two, "m.room.message", {"body": f"{number}"})
        await shared.send(two, "org.example.setting", {"value": number}, f"{number % 40}")
    await shared.send(two, "m.room.member", {"membership": "join", "displayname": "Two"}, two.user())
    await shared.send(two, "m.room.message", {"body": "two"})


@pytest.mark.parametrize("version", ["1", "6", "11", "12"])
async def test_a_branch_that_comes_at_once_makes_the_same_room(version: str) -> None:
    shared = await open_shared_room(4, version)
    try:
        await two_branches(shared, 6)
        _, _, three, four = shared.replicas
        events = arriving(shared, three)
        await bring(three, events, TOGETHER)
        await bring(four, arriving(shared, four), 1)
        views = await shared.views()
        assert views[2] == views[3]
        assert len(views[2]["heads"]) == 2
        room, other = [await at.rooms.live.get(shared.room_id) for at in (three, four)]
        for event in events:
            before = await three.rooms.branches.whole(room, await three.rooms.branches.before(room, event.event_id))
            alone = await four.rooms.branches.whole(other, await four.rooms.branches.before(other, event.event_id))
            assert before == alone
    finally:
        await shared.close()


async def test_states_of_a_long_branch_are_read_back_from_their_differences() -> None:
    shared = await open_shared_room(3, "12")
    try:
        await two_branches(shared, 70)
        three = shared.replicas[2]
        events = arriving(shared, three)
        state = dict((await three.rooms.live.get(shared.room_id)).state_ids)
        await bring(three, events, TOGETHER)
        three.rooms.live.forget(shared.room_id)
        room = await three.rooms.live.get(shared.room_id)
        for event in events[3:]:
            before = await three.rooms.branches.whole(room, await three.rooms.branches.before(room, event.event_id))
            assert before == state
            if event.is_state:
                state[event.key] = event.event_id
        assert room.state_ids[("org.example.setting", "29")] == state[("org.example.setting", "29")]
    finally:
        await shared.close()


async def test_a_ban_counts_for_what_comes_with_it_on_another_branch() -> None:
    shared = await open_shared_room(3, "11")
    try:
        one, two, three = shared.replicas
        await shared.send(one, "m.room.name", {"name": "one"}, "")
        await shared.send(two, "m.room.name", {"name": "two"}, "")
        await bring(three, arriving(shared, three), TOGETHER)
        await shared.send(one, "m.room.member", {"membership": "ban"}, two.user())
        await shared.send(two, "m.room.message", {"body": "not heard of it yet"})
        ban, message = arriving(shared, three)
        banned, said = await three.rooms.receiver.receive_all([ban, message])
        assert isinstance(banned, Accepted)
        assert isinstance(said, SoftFailed)
    finally:
        await shared.close()


async def test_an_event_that_comes_twice_at_once_is_known_the_second_time() -> None:
    shared = await open_shared_room(3, "12")
    try:
        await two_branches(shared, 2)
        three = shared.replicas[2]
        events = arriving(shared, three)
        outcomes = await three.rooms.receiver.receive_all([one for event in events for one in (event, event)])
        assert [type(outcome) for outcome in outcomes] == [Accepted, Known] * len(events)
    finally:
        await shared.close()


async def test_one_of_many_that_cannot_be_judged_leaves_the_others_alone() -> None:
    shared = await open_shared_room(3, "12")
    try:
        one, _, three = shared.replicas
        for number in range(6):
            await shared.send(one, "m.room.message", {"body": f"{number}"})
        events = arriving(shared, three)
        lost = events[3]
        outcomes = await three.rooms.receiver.receive_all([event for event in events if event is not lost])
        assert [isinstance(outcome, Accepted) for outcome in outcomes] == [True, True, True, False, False]
        outcomes = await three.rooms.receiver.receive_all([lost, *events[4:]])
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        room = await three.rooms.live.get(shared.room_id)
        assert [head.event_id for head in room.extremities] == [events[-1].event_id]
    finally:
        await shared.close()
