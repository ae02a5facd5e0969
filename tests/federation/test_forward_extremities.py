"""The ends of a room's graph: merged by events that nobody sees, and bounded, whoever makes branches (A12)."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.received_runs import MAX_HEADS
from homeserver.rooms.visibility import DUMMY
from tests.federation.lies import Scene, open_scene
from tests.support.federation import FederatedServer, Network, settle


async def room_of(scene: Scene) -> LiveRoom:
    return await scene.one.homeserver.rooms.live.get(scene.room_id)


async def branches(scene: Scene, count: int, **event: Any) -> list[str]:
    """So many events of the liar that all stand on the same."""
    made = [scene.liar.event(scene.room, content={"body": f"branch {number}"}, **event) for number in range(count)]
    for start in range(0, count, 50):
        outcomes = await scene.liar.send(scene.one, *made[start : start + 50])
        assert all(outcome == {} for outcome in outcomes.values())
    return [one.event_id for one in made]


async def dummies(scene: Scene) -> list[tuple[str, str]]:
    rows = await scene.one.homeserver.db.fetch_all(
        "SELECT sender, type FROM events WHERE type = ? OR (type = 'm.room.member' AND sender LIKE '@alice%')", (DUMMY,)
    )
    return [(row[0], row[1]) for row in rows]


async def test_ends_are_merged_after_a_while_by_an_event_that_nobody_sees(scene: Scene) -> None:
    made = await branches(scene, 12)
    since = (await scene.alice.sync())["next_batch"]
    room = await room_of(scene)
    assert len(room.extremities) == 12
    scene.liar.asked.clear()
    await scene.one.clock.advance(60)
    assert len(room.extremities) == 1
    assert ("@alice:one.test", DUMMY) in await dummies(scene)
    assert not [pdu for pdu in scene.liar.received() if pdu["type"] == DUMMY]
    assert set(made) <= set(await scene.shown())
    shown = await scene.alice.get(f"/rooms/{scene.room_id}/messages", dir="b", limit=50)
    assert DUMMY not in {event["type"] for event in shown["chunk"]}
    answer = await scene.alice.sync(since=since)
    assert DUMMY not in str(answer)
    said = await scene.alice.say(scene.room_id, "on top")
    await settle(scene.one)
    (told,) = [pdu for pdu in scene.liar.received() if pdu["content"].get("body") == "on top"]
    assert said
    assert len(told["prev_events"]) == 1
    found = await scene.liar.request(
        scene.one,
        "POST",
        f"/_matrix/federation/v1/get_missing_events/{scene.room_id.replace('!', '%21')}",
        {"earliest_events": made, "latest_events": [said], "limit": 10},
    )
    assert [pdu["type"] for pdu in found.json["events"]] == [DUMMY]


async def test_few_ends_are_left_to_whoever_speaks_next(scene: Scene) -> None:
    await branches(scene, 5)
    await scene.one.clock.advance(3600)
    assert len((await room_of(scene)).extremities) == 5
    await scene.alice.say(scene.room_id, "together")
    assert len((await room_of(scene)).extremities) == 1


async def test_A12_a_flood_of_branches_stays_bounded_and_pushes_nobody_out(scene: Scene) -> None:
    room = await room_of(scene)
    stale = scene.room.last
    await scene.alice.set_state(scene.room_id, "m.room.topic", {"topic": "true"})
    said = await scene.alice.say(scene.room_id, "before the flood")
    state = dict(room.state_ids)
    for round_ in range(4):
        for number in range(50):
            lie = scene.liar.event(
                scene.room, content={"body": f"{round_} {number}"}, prev=[stale], depth=2**40 + round_ * 50 + number
            )
            assert await scene.liar.send(scene.one, lie) == {lie.event_id: {}}
        assert len(room.extremities) <= MAX_HEADS
        assert dict(room.state_ids) == state
    await settle(scene.one)
    await scene.one.clock.advance(60)
    assert len(room.extremities) < 20
    assert dict(room.state_ids) == state
    assert said in await scene.shown(1000)
    await scene.good_event_arrives()


async def test_A12_branches_of_state_beyond_the_bound_wait_until_something_stands_on_them(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where nobody can merge: all ends that there are stay, and a further branch changes nothing."""
    for name, module in list(sys.modules.items()):
        if name.startswith("homeserver.rooms.") and hasattr(module, "MAX_HEADS"):
            monkeypatch.setattr(module, "MAX_HEADS", 4)
    await branches(scene, 4)
    room = await room_of(scene)
    heads, state = {head.event_id for head in room.extremities}, dict(room.state_ids)
    named = scene.liar.event(
        scene.room, "m.room.member", {"membership": "join", "displayname": "More"}, state_key=scene.liar.user
    )
    assert await scene.liar.send(scene.one, named) == {named.event_id: {}}
    assert {head.event_id for head in room.extremities} == heads
    assert dict(room.state_ids) == state
    assert named.event_id in await scene.shown()
    scene.room.state[named.key] = named
    scene.room.last = named
    first = next(iter(heads))
    stored = await scene.one.homeserver.rooms.events.find_events(scene.room_id, room.version, [first])
    both = scene.liar.event(scene.room, content={"body": "both"}, prev=[stored[0].event, named])
    assert await scene.liar.send(scene.one, both) == {both.event_id: {}}
    assert room.state_ids["m.room.member", scene.liar.user] == named.event_id
    assert len(room.extremities) == 4


async def test_an_event_of_ours_stands_on_all_ends_however_many(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("federation.merging.MANY", 1000)  # nobody was faster
    await branches(scene, 45)
    room = await room_of(scene)
    assert len(room.extremities) == 45
    await scene.alice.say(scene.room_id, "on top of all")
    assert len(room.extremities) == 1


async def test_where_nobody_of_us_may_write_somebody_joins_once_more(network: Network, one: FederatedServer) -> None:
    scene = await open_scene(network, one)
    levels = await scene.alice.get(f"/rooms/{scene.room_id}/state/m.room.power_levels")
    levels = {**levels, "events_default": 50, "users": {scene.liar.user: 50}}
    await scene.alice.set_state(scene.room_id, "m.room.power_levels", levels)
    room = await room_of(scene)
    stored = [one for one in room.timeline if one.event.type == "m.room.power_levels"][-1]
    scene.room.state[stored.event.key] = stored.event
    scene.room.last = stored.event
    await branches(scene, 12)
    await scene.one.clock.advance(60)
    assert len(room.extremities) == 1
    assert [kind for _, kind in await dummies(scene)] == ["m.room.member"] * 2
    assert room.membership("@alice:one.test") == "join"
