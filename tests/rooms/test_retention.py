"""How long rooms keep what is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.admin.services import AdminSettings
from homeserver.rooms.administration import AdministrationSettings
from homeserver.rooms.retention import RetentionSettings
from tests.support.server import Server, User, open_server, server_settings

DAY = 24 * 3600
DAY_MS = DAY * 1000


def opened(**settings: Any) -> Server:
    retention = RetentionSettings(enabled=True, **settings)
    return open_server(settings=server_settings(admin=AdminSettings((), AdministrationSettings(retention))))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = opened(minimum_ms=DAY_MS, maximum_ms=30 * DAY_MS)
    yield made
    await made.close()


async def bodies(user: User, room_id: str) -> list[str]:
    chunk = (await user.get(f"/rooms/{room_id}/messages", dir="b", limit=100))["chunk"]
    return [event["content"]["body"] for event in chunk if event["type"] == "m.room.message"]


async def count(server: Server, room_id: str) -> int:
    sql = "SELECT COUNT(*) FROM events WHERE room_id = ? AND state_key IS NULL"
    return int(await server.homeserver.db.fetch_value(sql, (room_id,)))


async def test_what_has_expired_is_shown_to_nobody_at_once_and_deleted_later(server: Server) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat", name="Den")
    await alice.set_state(room_id, "m.room.retention", {"max_lifetime": 7 * DAY_MS})
    await bob.join(room_id)
    old = await alice.say(room_id, "old news")
    await server.clock.advance(6 * DAY)
    await alice.say(room_id, "fresh news")
    assert await bodies(alice, room_id) == ["fresh news", "old news"]
    await server.clock.advance(2 * DAY)
    assert await bodies(alice, room_id) == ["fresh news"]
    assert (await bob.request("GET", f"/rooms/{room_id}/event/{old}")).status == 404
    assert (await bob.request("GET", f"/rooms/{room_id}/context/{old}")).status == 404
    for user in (bob, await server.log_in("bob")):
        shown = (await user.sync(filter='{"room":{"timeline":{"limit":50}}}'))["rooms"]["join"][room_id]
        assert old not in {event["event_id"] for event in shown["timeline"]["events"]}
    search = {"search_categories": {"room_events": {"search_term": "news"}}}
    found = (await alice.post("/search", search))["search_categories"]["room_events"]["results"]
    assert [hit["result"]["content"]["body"] for hit in found] == ["fresh news"]
    assert await count(server, room_id) == 2
    assert await server.homeserver.admin.rooms.retention_purge.purge_expired() == 1
    assert await count(server, room_id) == 1
    assert (await alice.get(f"/rooms/{room_id}/state/m.room.name"))["name"] == "Den"


async def test_clients_can_ask_how_long_messages_are_kept(server: Server) -> None:
    alice = await server.register("alice")
    path = "/_matrix/client/unstable/org.matrix.msc1763/retention/configuration"
    answer = await alice.get(path)
    assert answer == {"policies": {}, "limits": {"max_lifetime": {"min": DAY_MS, "max": 30 * DAY_MS}}}
    assert (await server.request("GET", path)).status == 401


async def test_the_operator_bounds_what_rooms_may_ask_for(server: Server) -> None:
    alice = await server.register("alice")
    retention = server.homeserver.admin.rooms.retention
    for asked, expected in (
        ({"max_lifetime": 1000}, DAY_MS),
        ({"max_lifetime": 365 * DAY_MS}, 30 * DAY_MS),
        ({"max_lifetime": 7 * DAY_MS}, 7 * DAY_MS),
        ({"max_lifetime": True}, None),
        ({"max_lifetime": "1d"}, None),
        ({"max_lifetime": -5}, None),
        ({}, None),
    ):
        room_id = await alice.create_room()
        await alice.set_state(room_id, "m.room.retention", asked)
        room = await server.homeserver.rooms.live.get(room_id)
        assert retention.lifetime_ms(room) == expected, asked


async def test_a_default_holds_for_every_room_and_the_newest_event_stays() -> None:
    server = opened(default_ms=DAY_MS, purge_seconds=3600)
    await server.homeserver.start()
    alice = await server.register("alice")
    rooms = [await alice.create_room() for _ in range(3)]
    for room_id in rooms:
        for number in range(3):
            await alice.say(room_id, str(number))
    await server.clock.advance(3601)
    assert [await count(server, room_id) for room_id in rooms] == [3, 3, 3]
    await server.clock.advance(DAY)
    await server.clock.advance(3600)
    assert [await count(server, room_id) for room_id in rooms] == [1, 1, 1]
    await alice.say(rooms[0], "goes on")
    assert await bodies(alice, rooms[0]) == ["goes on"]
    await server.close()


async def test_without_the_setting_policies_say_nothing() -> None:
    server = open_server()
    alice = await server.register("alice")
    room_id = await alice.create_room()
    await alice.set_state(room_id, "m.room.retention", {"max_lifetime": 1})
    await alice.say(room_id, "kept")
    await server.clock.advance(365 * DAY)
    assert await bodies(alice, room_id) == ["kept"]
    await server.close()
