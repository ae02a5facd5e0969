"""What other servers are told of who is there and who types: in time, again before they stop to believe it, and no
longer than their server goes on saying so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.federation.lies import Scene
from tests.support.clock import settle as let_run
from tests.support.federation import FederatedServer, Network, settle
from tests.support.server import User

TYPING, PRESENCE, DEVICES = "m.typing", "m.presence", "m.device_list_update"


async def room_of(one: FederatedServer, two: FederatedServer) -> tuple[User, User, str]:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two)
    return alice, bob, room_id


async def both_advance(one: FederatedServer, two: FederatedServer, seconds: int) -> None:
    for _ in range(seconds):
        await one.clock.advance(1)
        await two.clock.advance(1)
    await settle(one, two)


def told(scene: Scene, kind: str) -> list[Any]:
    """The contents of the EDUs of a kind that the liar was sent since the last time."""
    found = []
    for asked in scene.liar.asked:
        if "/send/" in asked.target:
            found += [edu["content"] for edu in asked.body.get("edus", ()) if edu["edu_type"] == kind]
    scene.liar.asked.clear()
    return found


async def test_who_goes_on_typing_is_told_again(one: FederatedServer, two: FederatedServer) -> None:
    _, bob, room_id = await room_of(one, two)
    for _ in range(4):
        await bob.put(f"/rooms/{room_id}/typing/{bob.user_id}", {"typing": True, "timeout": 60_000})
        await both_advance(one, two, 30)
        assert one.homeserver.rooms.typing.who(room_id) == [bob.user_id]
    await bob.put(f"/rooms/{room_id}/typing/{bob.user_id}", {"typing": False})
    await settle(one, two)
    assert one.homeserver.rooms.typing.who(room_id) == []


async def test_nobody_types_for_ever_when_their_server_vanishes(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    _, bob, room_id = await room_of(one, two)
    await bob.put(f"/rooms/{room_id}/typing/{bob.user_id}", {"typing": True, "timeout": 60_000})
    await settle(one, two)
    network.lost = lambda origin, request: True
    await one.clock.advance(59)
    assert one.homeserver.rooms.typing.who(room_id) == [bob.user_id]
    await one.clock.advance(2)
    assert one.homeserver.rooms.typing.who(room_id) == []


async def test_D16_a_storm_of_typing_wakes_nobody_for_long(scene: Scene) -> None:
    typing = scene.one.homeserver.rooms.typing

    def edu(on: bool) -> dict[str, Any]:
        return {"edu_type": TYPING, "content": {"room_id": scene.room_id, "user_id": scene.liar.user, "typing": on}}

    heard: list[str] = []
    typing.listen(heard.append)
    for _ in range(4):
        await scene.liar.send(scene.one, edus=[edu(number % 2 == 0) for number in range(100)])
    assert len(heard) == 100  # fifty times begun and ended
    assert typing.who(scene.room_id) == []
    await scene.one.clock.advance(1)
    await scene.liar.send(scene.one, edus=[edu(True)])
    assert typing.who(scene.room_id) == [scene.liar.user]
    await scene.good_event_arrives()


async def test_who_is_there_is_told_again_and_no_longer_believed_after_half_an_hour(scene: Scene) -> None:
    async def shown() -> str:
        state: str = (await scene.alice.get(f"/presence/{scene.liar.user}/status"))["presence"]
        return state

    here = {"user_id": scene.liar.user, "presence": "online", "last_active_ago": 1}
    edu = {"edu_type": PRESENCE, "content": {"push": [here]}}
    await scene.liar.send(scene.one, edus=[edu])
    assert await shown() == "online"
    await scene.one.clock.advance(20 * 60)
    await scene.liar.send(scene.one, edus=[edu])
    await scene.one.clock.advance(29 * 60)
    assert await shown() == "online"
    await scene.one.clock.advance(2 * 60)
    assert await shown() == "offline"


async def test_our_users_who_are_there_are_told_of_again_within_half_an_hour(scene: Scene) -> None:
    presence = scene.one.homeserver.users.presence
    await presence.sync_begins(scene.alice.user_id, "PHONE")
    presence.note_activity(scene.alice.user_id)
    await scene.one.clock.advance(24 * 60)
    told(scene, PRESENCE)
    await scene.one.clock.advance(2 * 60)
    await settle(scene.one)
    assert scene.alice.user_id in {one["user_id"] for content in told(scene, PRESENCE) for one in content["push"]}
    presence.sync_ends(scene.alice.user_id, "PHONE")
    await scene.one.clock.advance(60)
    await settle(scene.one)
    assert told(scene, PRESENCE)[-1]["push"][0]["presence"] == "offline"
    await scene.one.clock.advance(3600)
    assert told(scene, PRESENCE) == []


async def test_D16_a_storm_of_presence_is_told_at_most_every_ten_seconds(scene: Scene) -> None:
    stream = scene.one.homeserver.stream
    before = stream.position
    for number in range(100):
        state = ("online", "unavailable")[number % 2]
        push = [{"user_id": scene.liar.user, "presence": state, "status_msg": f"{number}"}]
        await scene.liar.send(scene.one, edus=[{"edu_type": PRESENCE, "content": {"push": push}}])
    assert stream.position - before <= 2
    await scene.one.clock.advance(11)
    shown = await scene.alice.get(f"/presence/{scene.liar.user}/status")
    assert (shown["presence"], shown["status_msg"]) == ("unavailable", "99")
    assert stream.position - before <= 4


@pytest.mark.parametrize(
    "said",
    [
        {"presence": "online", "status_msg": "x" * 100_000},
        {"presence": "online", "status_msg": "\0", "last_active_ago": 2**70},
        {"presence": "online", "status_msg": 7, "last_active_ago": -1},
        {"presence": "away"},
        {"presence": None},
    ],
)
async def test_B10_odd_presence_breaks_nothing(scene: Scene, said: dict[str, Any]) -> None:
    push = [{"user_id": scene.liar.user, **said}, {"user_id": "@stranger:liar.test", "presence": "online"}]
    await scene.liar.send(scene.one, edus=[{"edu_type": PRESENCE, "content": {"push": push}}])
    shown = await scene.alice.get(f"/presence/{scene.liar.user}/status")
    assert len(shown.get("status_msg", "")) <= 512
    assert "@stranger:liar.test" not in await scene.one.homeserver.users.presence.list_changed_users(0, 2**53)
    await scene.good_event_arrives()


async def test_a_server_that_comes_in_hears_who_is_there_and_of_whose_devices(scene: Scene) -> None:
    await scene.one.homeserver.users.presence.sync_begins(scene.alice.user_id, "PHONE")
    await settle(scene.one)
    other = await scene.alice.create_room(preset="public_chat")
    mine = scene.liar.make_room()
    told(scene, PRESENCE)
    await scene.liar.join(scene.one, other)
    await let_run(100)
    await settle(scene.one)
    pushed = [one["user_id"] for content in told(scene, PRESENCE) for one in content["push"]]
    assert pushed == [scene.alice.user_id]
    bob = await scene.one.register("bob")
    await scene.one.homeserver.users.presence.sync_begins(bob.user_id, "PHONE")
    scene.liar.answers["/make_join/"] = (200, scene.liar.template(mine, bob.user_id))
    scene.liar.answers["/send_join/"] = lambda asked: (200, {**scene.liar.told_state(mine), "event": asked.body})
    await settle(scene.one)
    told(scene, DEVICES)
    await bob.post(f"/join/{mine.room_id}", {}, via="liar.test")
    await let_run(100)
    await settle(scene.one)
    asked = list(scene.liar.asked)
    assert [content["user_id"] for content in told(scene, DEVICES)] == [bob.user_id]
    scene.liar.asked[:] = asked
    assert {one["user_id"] for content in told(scene, PRESENCE) for one in content["push"]} == {bob.user_id}


async def test_G06_receipts_of_threads_arrive_beside_those_of_the_room_and_private_ones_never(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob, room_id = await room_of(one, two)
    root = await alice.say(room_id, "root")
    relation = {"rel_type": "m.thread", "event_id": root}
    reply = await alice.send(room_id, "m.room.message", {"msgtype": "m.text", "body": "x", "m.relates_to": relation})
    await settle(one, two)
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{reply}", {"thread_id": root})
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{root}", {"thread_id": "main"})
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{reply}", {})
    await bob.post(f"/rooms/{room_id}/receipt/m.read.private/{reply}", {})
    await settle(one, two)
    events = (await alice.sync())["rooms"]["join"][room_id]["ephemeral"]["events"]
    seen = [
        (event_id, kind, said.get("thread_id"))
        for event in events
        if event["type"] == "m.receipt"
        for event_id, kinds in event["content"].items()
        for kind, users in kinds.items()
        for user_id, said in users.items()
        if user_id == bob.user_id
    ]
    assert sorted(seen, key=str) == sorted(
        [(reply, "m.read", root), (root, "m.read", "main"), (reply, "m.read", None)], key=str
    )
    assert not any("m.read.private" in str(request.body) for _, request in network.requests)
