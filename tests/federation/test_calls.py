"""What calls rest on, between two servers: sticky events (MSC4354) and delayed state (MSC4140)."""

from __future__ import annotations

from tests.support.federation import FederatedServer, settle

CALL = "org.matrix.msc3401.call.member"


async def test_sticky_event_of_another_server_is_told_of_until_it_expires(
    one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two)
    path = f"/rooms/{room_id}/send/org.matrix.msc4143.rtc.member/t"
    content = {"msc4354_sticky_key": "k"}
    sent = await alice.put(path, content, **{"org.matrix.msc4354.sticky_duration_ms": 60_000})
    for number in range(30):
        await alice.say(room_id, f"{number}")
    await settle(one, two)
    room = (await bob.sync())["rooms"]["join"][room_id]
    (held,) = room["msc4354_sticky"]["events"]
    assert (held["event_id"], held["msc4354_sticky"]) == (sent["event_id"], {"duration_ms": 60_000})
    assert 0 < held["unsigned"]["msc4354_sticky_duration_ttl_ms"] <= 60_000
    await two.clock.advance(61)
    bob.since = None
    assert "msc4354_sticky" not in (await bob.sync())["rooms"]["join"][room_id]


async def test_state_of_another_server_cancels_a_delayed_event(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat", power_level_content_override={"events": {CALL: 0}})
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two)
    for key in ("shared", "own"):
        path = f"/rooms/{room_id}/state/{CALL}/{key}"
        await alice.put(path, {}, **{"org.matrix.msc4140.delay": 10_000})
    await bob.set_state(room_id, CALL, {"here": "bob"}, "shared")
    await settle(one, two)
    await one.clock.advance(11)
    await settle(one, two)
    assert await bob.get(f"/rooms/{room_id}/state/{CALL}/shared") == {"here": "bob"}
    assert await bob.get(f"/rooms/{room_id}/state/{CALL}/own") == {}
    ended = (await alice.get("/_matrix/client/unstable/org.matrix.msc4140/delayed_events"))["finalised"]
    assert {one["delayed_event"]["state_key"]: one["outcome"] for one in ended} == {"shared": "cancel", "own": "send"}
