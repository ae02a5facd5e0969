"""Events that lie (rows A01-A22 of the known attacks), sent by a server that is in the room."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.federation.lies import Scene, open_scene
from tests.federation.test_attacks_on_requests import room_requests
from tests.support.federation import FederatedServer, Network, settle


async def test_A04_a_truncated_state_does_not_reset_the_room(scene: Scene) -> None:
    await scene.alice.set_state(scene.room_id, "m.room.topic", {"topic": "ours"})
    await settle(scene.one)
    before = await scene.state()
    room = await scene.one.homeserver.rooms.live.get(scene.room_id)
    hidden = scene.liar.event(scene.room, content={"body": "never shown"})
    # It names all of the room's newest events beside one that only the liar has, and tells a state of almost nothing.
    heads = [head.event_id for head in room.extremities]
    lie = scene.liar.event(scene.room, depth=room.extremities[0].depth + 2, prev_events=[*heads, hidden.event_id])
    kept = [scene.room.state[key].event_id for key in (("m.room.create", ""), ("m.room.member", scene.liar.user))]
    chain = [event.event_id for event in scene.room.chain]
    scene.liar.answers = {
        "/get_missing_events/": (200, {"events": []}),
        "/state_ids/": (200, {"pdu_ids": kept, "auth_chain_ids": chain}),
    }
    await scene.liar.send(scene.one, lie)
    assert any("/state_ids/" in asked.target for asked in scene.liar.asked)
    assert await scene.state() == before
    room = await scene.one.homeserver.rooms.live.get(scene.room_id)
    assert room.membership(scene.alice.user_id) == "join"
    scene.room.last = lie
    await scene.good_event_arrives()
    assert await scene.state() == before


async def test_A05_auth_events_of_another_room_are_no_authority(scene: Scene) -> None:
    other_id = await scene.alice.create_room(preset="public_chat", room_version="11")
    other = await scene.liar.join(scene.one, other_id)
    before = await scene.state()
    lies = [
        scene.liar.event(scene.room, "m.room.topic", {"topic": "x"}, state_key="", auth=list(other.state.values())[:5]),
        scene.liar.event(
            scene.room, auth=[other.state["m.room.create", ""], scene.room.state["m.room.member", scene.liar.user]]
        ),
    ]
    answers = await scene.liar.send(scene.one, *lies)
    assert all("error" in answers[lie.event_id] for lie in lies)
    assert await scene.state() == before
    assert not {lie.event_id for lie in lies} & set(await scene.shown())
    await scene.good_event_arrives()


async def test_A07_a_rejected_event_stays_rejected_and_lends_no_authority(scene: Scene) -> None:
    before = await scene.state()
    levels = dict(scene.room.state["m.room.power_levels", ""].content)
    levels["users"] = {scene.liar.user: 100}
    theft = scene.liar.event(scene.room, "m.room.power_levels", levels, state_key="")
    for _ in range(3):
        assert "error" in (await scene.liar.send(scene.one, theft))[theft.event_id]
    stands_on_it = scene.liar.event(
        scene.room,
        "m.room.topic",
        {"topic": "stolen"},
        state_key="",
        prev=[theft],
        auth=[scene.room.state["m.room.create", ""], theft, scene.room.state["m.room.member", scene.liar.user]],
    )
    assert "error" in (await scene.liar.send(scene.one, stands_on_it))[stands_on_it.event_id]
    assert await scene.state() == before
    await scene.good_event_arrives()


async def test_A09_redactions_by_nobody_and_in_a_cycle_do_nothing(network: Network, one: FederatedServer) -> None:
    scene = await open_scene(network, one, "1")
    said = await scene.alice.say(scene.room_id, "to stay")
    await settle(one)
    create = scene.room.state["m.room.create", ""].event_id
    for target in (said, create):
        lie = scene.liar.event(scene.room, "m.room.redaction", {}, redacts=target)
        await scene.liar.send(one, lie)
    names = [f"$r{number}:liar.test" for number in range(40)]
    cycle = []
    for number, name in enumerate(names):
        event = scene.liar.event(
            scene.room, "m.room.redaction", {}, redacts=names[(number + 1) % len(names)], event_id=name, advance=True
        )
        cycle.append(event)
    started = time.process_time()
    await scene.liar.send(one, *cycle)
    assert time.process_time() - started < 5
    assert (await scene.alice.get(f"/rooms/{scene.room_id}/event/{said}"))["content"]["body"] == "to stay"
    assert (await scene.alice.get(f"/rooms/{scene.room_id}/event/{create}"))["content"]["creator"]
    await scene.good_event_arrives()


@pytest.mark.parametrize("version", ["1", "5", "6", "12"])
async def test_A10_the_deepest_event_there_can_be_leaves_the_room_usable(
    network: Network, one: FederatedServer, version: str
) -> None:
    scene = await open_scene(network, one, version)
    deepest = scene.liar.event(scene.room, depth=2**53 - 1)
    for depth in (2**53, 2**63 - 1, 2**64, -1):
        lie = scene.liar.event(scene.room, depth=1).pdu
        await scene.liar.send(one, {**lie, "depth": depth})
    assert await scene.liar.send(one, deepest) == {deepest.event_id: {}}
    said = await scene.alice.say(scene.room_id, "deep")
    assert said in await scene.shown()
    room = await one.homeserver.rooms.live.get(scene.room_id)
    assert max(head.depth for head in room.extremities) <= 2**53 - 1
    await scene.good_event_arrives()


async def test_A11_only_what_was_asked_for_of_an_auth_chain_is_kept(scene: Scene) -> None:
    count = "SELECT COUNT(*) FROM events"
    before = (await scene.one.homeserver.db.fetch_all(count))[0][0]
    member = scene.liar.event(
        scene.room, "m.room.member", {"membership": "join", "n": 1}, state_key=scene.liar.user, advance=False
    )
    junk = [
        scene.liar.event(scene.room, "m.room.member", {"membership": "join", "n": n}, state_key=scene.liar.user).pdu
        for n in range(300)
    ]
    auth = [scene.room.state["m.room.create", ""], scene.room.state["m.room.power_levels", ""], member]
    lie = scene.liar.event(scene.room, auth=auth)
    scene.liar.answers = {"/event_auth/": (200, {"auth_chain": [*junk, member.pdu]})}
    await scene.liar.send(scene.one, lie)
    after = (await scene.one.homeserver.db.fetch_all(count))[0][0]
    assert after - before <= 2
    await scene.good_event_arrives()


async def test_A12_a_wide_graph_has_a_bounded_number_of_ends(scene: Scene) -> None:
    for start in range(0, 100, 50):
        forks = [scene.liar.event(scene.room, content={"body": f"{start + n}"}) for n in range(50)]
        assert all(not told for told in (await scene.liar.send(scene.one, *forks)).values())
    room = await scene.one.homeserver.rooms.live.get(scene.room_id)
    assert len(room.extremities) <= 50
    said = await scene.alice.say(scene.room_id, "together")
    found = await scene.one.homeserver.rooms.events.find_events(scene.room_id, room.version, [said])
    assert len(found[0].event.prev_events) <= 20
    await scene.good_event_arrives()


async def test_A12_what_is_soft_failed_or_rejected_ends_no_branch(scene: Scene) -> None:
    old = scene.room.last
    await scene.alice.post(f"/rooms/{scene.room_id}/ban", {"user_id": scene.liar.user})
    room = await scene.one.homeserver.rooms.live.get(scene.room_id)
    heads = list(room.extremities)
    late = scene.liar.event(scene.room, prev=[old])
    await scene.liar.send(scene.one, late)
    assert (await scene.one.homeserver.rooms.live.get(scene.room_id)).extremities == heads
    assert late.event_id not in await scene.shown()


async def test_A13_events_of_rooms_that_we_left_are_not_taken(scene: Scene) -> None:
    await scene.alice.post(f"/rooms/{scene.room_id}/leave", {})
    await settle(scene.one)
    lie = scene.liar.event(scene.room)
    stranger = scene.liar.event(scene.room, room_id="!nowhere:liar.test")
    answers = await scene.liar.send(scene.one, lie, stranger)
    assert all("error" in told for told in answers.values())
    for method, target, body in room_requests(scene.room_id, scene.room.last.event_id, scene.liar.user):
        if "/make_" in target or "/send_" in target:
            assert (await scene.liar.request(scene.one, method, target, body)).status in (400, 403, 404), target
    back = scene.liar.event(scene.room, "m.room.member", {"membership": "join"}, state_key=scene.alice.user_id)
    assert "error" in (await scene.liar.send(scene.one, back))[back.event_id]
    assert scene.room_id not in (await scene.alice.sync()).get("rooms", {}).get("join", {})


async def test_A17_rejected_and_soft_failed_events_of_others_are_read_by_nobody(scene: Scene) -> None:
    old = scene.room.last
    rejected = scene.liar.event(
        scene.room, "m.room.name", {"name": "needle"}, state_key="", prev=[old], unsigned={"age": 1}
    )
    await scene.liar.send(scene.one, rejected)
    said = await scene.alice.say(scene.room_id, "root")
    await scene.alice.post(f"/rooms/{scene.room_id}/ban", {"user_id": scene.liar.user})
    relation = {"rel_type": "m.thread", "event_id": said}
    soft = scene.liar.event(scene.room, content={"msgtype": "m.text", "body": "needle", "m.relates_to": relation})
    await scene.liar.send(scene.one, soft)
    hidden = {rejected.event_id, soft.event_id}
    room = f"/rooms/{scene.room_id}"
    told: list[Any] = [
        await scene.alice.get("/sync"),
        await scene.alice.get(f"{room}/messages", dir="b", limit=100),
        await scene.alice.get(f"{room}/state"),
        await scene.alice.get(f"{room}/context/{said}", limit=100),
        await scene.alice.get(f"/_matrix/client/v1{room}/relations/{said}"),
        await scene.alice.get(f"/_matrix/client/v1{room}/threads"),
        await scene.alice.post("/search", {"search_categories": {"room_events": {"search_term": "needle"}}}),
        await scene.alice.get("/notifications"),
    ]
    assert not any(event_id in str(answer) for answer in told for event_id in hidden)
    for event_id in hidden:
        assert (await scene.alice.request("GET", f"{room}/event/{event_id}")).status == 404
        assert (await scene.alice.request("GET", f"{room}/context/{event_id}")).status == 404


async def test_A18_an_event_whose_content_hash_is_wrong_comes_redacted(scene: Scene) -> None:
    lie = scene.liar.event(scene.room, hashes={"sha256": "x" * 43})
    assert await scene.liar.send(scene.one, lie) == {lie.event_id: {}}
    shown = await scene.alice.get(f"/rooms/{scene.room_id}/event/{lie.event_id}")
    assert "body" not in shown["content"]
    await scene.good_event_arrives()


async def test_A19_oversized_events_are_dropped_wherever_they_come_from(scene: Scene) -> None:
    large = scene.liar.event(scene.room, content={"body": "x" * 66_000})
    long_type = scene.liar.event(scene.room, "t" * 256, {})
    long_key = scene.liar.event(scene.room, "m.test", {}, state_key="钥" * 86)
    answers = await scene.liar.send(scene.one, large, long_type, long_key)
    assert all("error" in answers[one.event_id] for one in (large, long_type, long_key))
    scene.liar.answers = {"/get_missing_events/": (200, {"events": [large.pdu]})}
    await scene.liar.send(scene.one, scene.liar.event(scene.room, prev=[large]))
    assert large.event_id not in await scene.shown()
    await scene.good_event_arrives()
