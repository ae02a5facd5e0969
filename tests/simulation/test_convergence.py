"""Servers that write in one room at once, and hear of each other late and in any order, end with the same room."""

from __future__ import annotations

import random
from typing import Any

import pytest

from homeserver.rooms.receiving import Accepted
from tests.support.replicas import Replica, SharedRoom, open_shared_room
from tests.support.synced_client import SyncedClient


@pytest.mark.parametrize("version", ["1", "2", "6", "11", "12"])
async def test_two_servers_agree_after_a_partition(version: str) -> None:
    shared = await open_shared_room(2, version)
    try:
        one, two = shared.replicas
        assert await shared.send(one, "m.room.topic", {"topic": "左"}, "")
        assert await shared.send(one, "m.room.message", {"body": "left"})
        assert await shared.send(two, "m.room.topic", {"topic": "右"}, "")
        assert await shared.send(two, "m.room.name", {"name": "right"}, "")
        await shared.deliver(random.Random(1), 4)
        assert not shared.waiting
        views = await shared.views()
        assert views[0] == views[1]
        assert len(views[0]["heads"]) == 2
        assert await shared.send(one, "m.room.message", {"body": "together again"})
        await shared.deliver(random.Random(1))
        views = await shared.views()
        assert views[0] == views[1]
        assert len(views[0]["heads"]) == 1
        assert ("m.room.name", "") in views[0]["state"]
    finally:
        await shared.close()


async def test_who_was_banned_on_one_side_is_soft_failed_on_it() -> None:
    shared = await open_shared_room(2, "11")
    try:
        one, two = shared.replicas
        assert await shared.send(one, "m.room.member", {"membership": "ban"}, two.user())
        assert await shared.send(two, "m.room.message", {"body": "not heard of it yet"})
        await shared.deliver(random.Random(1), 2)
        (late,) = [event for event in shared.events.values() if event.content.get("body") == "not heard of it yet"]
        assert not isinstance(one.outcomes[late.event_id], Accepted)
        views = await shared.views()
        assert views[0]["state"] == views[1]["state"]
        assert views[0]["members"] == views[1]["members"]
    finally:
        await shared.close()


ACTIONS = ("message", "message", "topic", "name", "ban", "kick", "level", "join_rule", "rejoin", "profile")


async def act(shared: SharedRoom, chance: random.Random, at: Replica, number: int) -> None:
    """Something that a user of a server does, allowed or not."""
    other = chance.choice(shared.replicas)
    action = chance.choice(ACTIONS)
    done: dict[str, tuple[str, dict[str, Any], str | None]] = {
        "message": ("m.room.message", {"body": f"{number}"}, None),
        "topic": ("m.room.topic", {"topic": f"{number}"}, ""),
        "name": ("m.room.name", {"name": f"{number}"}, ""),
        "ban": ("m.room.member", {"membership": "ban"}, other.user()),
        "kick": ("m.room.member", {"membership": "leave"}, other.user()),
        "join_rule": ("m.room.join_rules", {"join_rule": chance.choice(["public", "invite"])}, ""),
        "rejoin": ("m.room.member", {"membership": "join"}, at.user()),
        "profile": ("m.room.member", {"membership": "join", "displayname": f"{number}"}, at.user()),
    }
    if action == "level":
        room = await at.rooms.live.get(shared.room_id)
        levels = dict(room.content("m.room.power_levels"))
        levels["users"] = {**levels.get("users", {}), other.user(): chance.choice([0, 50, 60])}
        await shared.send(at, "m.room.power_levels", levels, "")
        return
    if action == "ban" and other is at:
        return
    await shared.send(at, *done[action])


def _is_inside(replica: Replica, views: list[dict[str, Any]]) -> bool:
    """Whether every server says that a server's user is in the room."""
    return all(view["members"].get(replica.user()) == "join" for view in views)


@pytest.mark.parametrize("seed", range(12))
async def test_any_order_of_delivery_gives_one_room(seed: int) -> None:
    chance = random.Random(seed)
    shared = await open_shared_room(3, chance.choice(["2", "10", "11", "12"]))
    try:
        for number in range(40):
            await act(shared, chance, chance.choice(shared.replicas), number)
            await shared.deliver(chance, chance.choice([0, 0, 1, 3]))
        await shared.deliver(chance, len(shared.waiting))
        # What is soft-failed on one side counts there once an event of the other side stands on it. So after quiet,
        # everybody who is still there says something, until all of it is one line again.
        for _ in range(3):
            for replica in shared.replicas:
                await shared.send(replica, "m.room.message", {"body": "in the end"})
                await shared.deliver(chance, len(shared.waiting))
        views = await shared.views()
        # Who is out of the room hears nothing more of it; here they do, and go on alone.
        inside = [view for view, replica in zip(views, shared.replicas, strict=True) if _is_inside(replica, views)]
        assert all(view == inside[0] for view in inside)
    finally:
        await shared.close()


@pytest.mark.parametrize("seed", range(6))
async def test_clients_follow_what_branches_make_together(seed: int) -> None:
    chance = random.Random(seed)
    shared = await open_shared_room(3, chance.choice(["10", "12"]))
    try:
        one = shared.replicas[0]
        user = await one.server.register("u")
        assert user.user_id == one.user()
        client = SyncedClient(user, {"use_state_after": "true"})
        await client.sync()
        for number in range(30):
            await act(shared, chance, chance.choice(shared.replicas), number)
            await shared.deliver(chance, chance.choice([0, 0, 1, 5]))
            room = await one.rooms.live.get(shared.room_id)
            if room.membership(user.user_id) != "join":
                break
            if chance.random() < 0.4:
                await client.sync()
                fresh = SyncedClient(user, {"use_state_after": "true"})
                await fresh.sync()
                assert client.joined[shared.room_id].state == fresh.joined[shared.room_id].state == room.state_ids
    finally:
        await shared.close()
