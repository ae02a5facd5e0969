"""Sticky events (MSC4354), over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.storage.database import Database
from tests.support.server import Server, User, open_server

STICKY = "org.matrix.msc4354.sticky_duration_ms"
MEMBER = "org.matrix.msc4143.rtc.member"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = open_server()
    yield running
    await running.close()


async def stick(user: User, room_id: str, key: str, duration_ms: int = 60_000) -> str:
    user.transactions += 1
    path = f"/rooms/{room_id}/send/{MEMBER}/t{user.transactions}"
    answer = await user.put(path, {"msc4354_sticky_key": key}, **{STICKY: duration_ms})
    event_id: str = answer["event_id"]
    return event_id


def section(body: Any, room_id: str) -> Any:
    return body.get("rooms", {}).get("join", {}).get(room_id, {})


def sticky_ids(body: Any, room_id: str) -> list[str]:
    return [event["event_id"] for event in section(body, room_id).get("msc4354_sticky", {}).get("events", [])]


async def test_sticky_event_says_how_long_it_holds(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    event_id = await stick(alice, room_id, "a", 60_000)
    await server.clock.advance(10)
    event = await alice.get(f"/rooms/{room_id}/event/{event_id}")
    assert event["msc4354_sticky"] == {"duration_ms": 60_000}
    assert event["unsigned"]["msc4354_sticky_duration_ttl_ms"] == 50_000
    await server.clock.advance(60)
    event = await alice.get(f"/rooms/{room_id}/event/{event_id}")
    assert "msc4354_sticky_duration_ttl_ms" not in event["unsigned"]
    longest = await alice.get(f"/rooms/{room_id}/event/{await stick(alice, room_id, 'b', 2**40)}")
    assert longest["msc4354_sticky"] == {"duration_ms": 3_600_000}


async def test_what_the_timeline_leaves_out_comes_apart_until_it_expires(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.sync()
    early = await stick(alice, room_id, "early", 600_000)
    short = await stick(alice, room_id, "short", 1_000)
    assert sticky_ids(await bob.sync(), room_id) == []  # they are in the timeline
    for number in range(30):
        await alice.say(room_id, f"{number}")
    late = await stick(alice, room_id, "late")
    assert sticky_ids(await bob.sync(), room_id) == []
    bob.since = None
    first = await bob.sync()
    assert sticky_ids(first, room_id) == [early, short]
    assert section(first, room_id)["timeline"]["events"][-1]["event_id"] == late
    await server.clock.advance(2)
    bob.since = None
    assert sticky_ids(await bob.sync(), room_id) == [early]
    assert section(await bob.sync(), room_id) == {}


async def test_gap_in_the_timeline_is_filled_by_the_sticky_section(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.sync()
    missed = await stick(alice, room_id, "a")
    for number in range(30):
        await alice.say(room_id, f"{number}")
    body = await bob.sync()
    assert section(body, room_id)["timeline"]["limited"] is True
    assert sticky_ids(body, room_id) == [missed]


async def test_newcomer_sees_sticky_events_of_before_whatever_the_history_visibility(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(
        preset="public_chat",
        initial_state=[{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}],
    )
    event_id = await stick(alice, room_id, "a")
    secret = await alice.say(room_id, "for those who are here")
    await bob.sync()
    await bob.join(room_id)
    body = await bob.sync()
    assert sticky_ids(body, room_id) == [event_id]
    assert secret not in [event["event_id"] for event in section(body, room_id)["timeline"]["events"]]


async def test_redacted_and_ignored_stick_no_more(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    redacted, kept = await stick(alice, room_id, "a"), await stick(alice, room_id, "b")
    await alice.put(f"/rooms/{room_id}/redact/{redacted}/r")
    for number in range(30):
        await alice.say(room_id, f"{number}")
    assert sticky_ids(await bob.sync(), room_id) == [kept]
    ignored: dict[str, Any] = {"ignored_users": {alice.user_id: {}}}
    await bob.put(f"/user/{bob.user_id}/account_data/m.ignored_user_list", ignored)
    bob.since = None
    assert sticky_ids(await bob.sync(), room_id) == []


async def test_sticky_events_survive_a_restart_and_come_by_the_page(database: Database) -> None:
    first = open_server(database)
    alice = await first.register()
    room_id, other = await alice.create_room(), await alice.create_room()
    ids = [await stick(alice, room_id if number % 2 else other, f"{number}") for number in range(5)]
    await first.homeserver.close()
    second = open_server(database)
    sticky = second.homeserver.rooms.sticky_events
    assert set(await sticky.list_rooms()) == {room_id, other}
    found: list[str] = []
    place = 0
    for _ in range(3):
        page, place = await sticky.list_of_rooms([room_id, other], place, database.position, limit=2)
        both = [stored for of_room in page.values() for stored in of_room]
        found += [stored.event_id for stored in sorted(both, key=lambda one: one.position)]
    assert found == ids
    assert await sticky.list_of_rooms([room_id, other], place, database.position) == ({}, database.position)
    await second.homeserver.close()


async def test_delayed_event_may_be_sticky(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    query = {STICKY: 60_000, "org.matrix.msc4140.delay": 1_000}
    await alice.put(f"/rooms/{room_id}/send/{MEMBER}/t", {"msc4354_sticky_key": "k"}, **query)
    await server.clock.advance(2)
    assert len(await server.homeserver.rooms.sticky_events.list_rooms()) == 1
    chunk = (await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=1))["chunk"]
    assert chunk[0]["unsigned"]["msc4354_sticky_duration_ttl_ms"] == 59_000


async def test_sliding_sync_tells_of_sticky_events_as_an_extension(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id, other = await alice.create_room(preset="public_chat"), await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    early, elsewhere = await stick(alice, room_id, "early"), await stick(alice, other, "not joined")
    for number in range(3):
        await alice.say(room_id, f"{number}")
    late = await stick(alice, room_id, "late")
    path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"

    async def ask(since: str | None = None, timeline_limit: int = 1) -> tuple[list[str], str]:
        lists = {"all": {"ranges": [[0, 9]], "timeline_limit": timeline_limit, "required_state": []}}
        extension = {"enabled": True, "limit": 10, **({} if since is None else {"since": since})}
        body = {"lists": lists, "extensions": {"org.matrix.msc4354.sticky_events": extension}}
        answer = await bob.post(path, body)
        told = answer["extensions"]["org.matrix.msc4354.sticky_events"]
        assert elsewhere not in str(told)
        events = told["rooms"].get(room_id, {}).get("events", [])
        return [event["event_id"] for event in events], told["next_batch"]

    shown, place = await ask()
    assert shown == [early]  # the other one is the timeline
    assert (await ask(place))[0] == []
    newest = await stick(alice, room_id, "newest")
    await alice.say(room_id, "on top")
    assert (await ask(place))[0] == [newest]
    assert (await ask("99999999"))[0] == [early, late, newest]
    assert (await ask("99999999", timeline_limit=20))[0] == []
