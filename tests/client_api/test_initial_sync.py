"""Notifications, the reading that came before /sync, relays for calls and other networks, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from homeserver.client_api.voip import TurnSettings
from tests.support.clock import settle
from tests.support.server import Server, open_server, server_settings


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    turn = TurnSettings(("turn:turn.example.com?transport=udp",), "a secret of the relay")
    made = open_server(settings=server_settings(turn=turn))
    yield made
    await made.close()


async def test_notifications_are_listed_newest_first_and_know_what_was_read(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    first = await alice.say(room_id, "one")
    await alice.say(room_id, "two")
    mention = {"m.mentions": {"user_ids": [bob.user_id]}}
    third = await alice.say(room_id, "three", **mention)
    gone = await alice.say(room_id, "gone")
    await alice.put(f"/rooms/{room_id}/redact/{gone}/r")
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{first}")
    body = await bob.get("/notifications", limit=2)
    assert [one["event"]["content"]["body"] for one in body["notifications"]] == ["three", "two"]
    assert [one["read"] for one in body["notifications"]] == [False, False]
    rest = await bob.get("/notifications", limit=2, **{"from": body["next_token"]})
    assert [(one["event"]["event_id"], one["read"]) for one in rest["notifications"]] == [(first, True)]
    assert "next_token" not in rest
    only = await bob.get("/notifications", only="highlight")
    assert [one["event"]["event_id"] for one in only["notifications"]] == [third]
    assert (await alice.get("/notifications"))["notifications"] == []


async def test_initial_sync_shows_rooms_with_state_and_messages(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(name="Room", preset="public_chat")
    await bob.join(room_id)
    said = [await alice.say(room_id, str(number)) for number in range(3)]
    invited = await alice.create_room(invite=[bob.user_id])
    body = await bob.get("/initialSync", limit=2)
    rooms = {room["room_id"]: room for room in body["rooms"]}
    assert rooms[invited]["membership"] == "invite"
    assert rooms[invited]["invite"]["sender"] == alice.user_id
    assert [one["event_id"] for one in rooms[room_id]["messages"]["chunk"]] == said[1:]
    assert "m.room.name" in {one["type"] for one in rooms[room_id]["state"]}
    one = await bob.get(f"/rooms/{room_id}/initialSync", limit=1)
    assert (one["membership"], one["visibility"]) == ("join", "private")
    earlier = await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=1, **{"from": one["messages"]["start"]})
    assert earlier["chunk"][0]["event_id"] == said[1]
    await bob.post(f"/rooms/{room_id}/leave")
    assert room_id not in {room["room_id"] for room in (await bob.get("/initialSync"))["rooms"]}
    archived = {room["room_id"]: room for room in (await bob.get("/initialSync", archived="true"))["rooms"]}
    assert archived[room_id]["membership"] == "leave"


async def test_events_wait_for_news_of_own_rooms(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    end = (await alice.get("/initialSync"))["end"]
    waiting = asyncio.ensure_future(alice.get("/events", timeout=30_000, **{"from": end}))
    await settle()
    assert not waiting.done()
    said = await alice.say(room_id, "news")
    body = await waiting
    assert [one["event_id"] for one in body["chunk"]] == [said]
    waiting = asyncio.ensure_future(alice.get("/events", timeout=1_000, **{"from": body["end"]}))
    await server.clock.advance(2)
    assert (await waiting)["chunk"] == []


async def test_room_initial_sync_has_the_account_data_of_the_room(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await alice.put(f"/user/{alice.user_id}/rooms/{room_id}/account_data/org.x", {"x": 1})
    await alice.put(f"/user/{alice.user_id}/account_data/org.y", {"y": 1})
    shown = (await alice.get(f"/rooms/{room_id}/initialSync"))["account_data"]
    assert shown == [{"type": "org.x", "content": {"x": 1}}]
    assert (await bob.get(f"/rooms/{room_id}/initialSync"))["account_data"] == []


async def test_a_world_readable_room_can_be_peeked_into_and_no_other(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    world = {"type": "m.room.history_visibility", "content": {"history_visibility": "world_readable"}}
    room_id = await alice.create_room(initial_state=[world])
    private = await alice.create_room()
    waiting = asyncio.ensure_future(bob.get("/events", timeout=30_000, room_id=room_id))
    await settle()
    said = await alice.say(room_id, "seen from outside")
    assert [one["event_id"] for one in (await waiting)["chunk"]] == [said]
    assert (await bob.request("GET", "/events", room_id=private)).status == 403
    assert (await bob.request("GET", f"/rooms/{private}/initialSync")).status == 403


async def test_G08_single_events_without_a_room_are_found_by_those_who_may_see_them(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    said = await alice.say(await alice.create_room(), "mine")
    assert (await alice.get(f"/events/{said}"))["content"]["body"] == "mine"
    answers = [await bob.request("GET", f"/events/{event_id}") for event_id in (said, "$missing")]
    assert [answer.status for answer in answers] == [404, 404]
    assert answers[0].body == answers[1].body


async def test_relays_for_calls_get_credentials_that_end(server: Server) -> None:
    alice = await server.register()
    body = await alice.get("/voip/turnServer")
    expires, _, user_id = body["username"].partition(":")
    assert int(expires) == server.clock.now_ms() // 1000 + body["ttl"]
    assert (user_id, body["uris"]) == (alice.user_id, ["turn:turn.example.com?transport=udp"])
    assert len(body["password"]) == 28


async def test_without_relays_and_bridges_there_is_nothing_to_tell() -> None:
    server = open_server()
    alice = await server.register()
    empty: dict[str, Any] = {}
    # Clients know {} for "no relay", though the schema has all members required: so this answer is not validated.
    answer = await server.client.request("GET", "/_matrix/client/v3/voip/turnServer", token=alice.token)
    assert (answer.status, answer.json) == (200, empty)
    assert await alice.get("/thirdparty/protocols") == empty
    for path in ("protocol/irc", "user/irc", "location/irc", "user?userid=@a:x.y", "location?alias=%23a:x.y"):
        assert (await alice.request("GET", f"/thirdparty/{path}")).json["errcode"] == "M_NOT_FOUND"
    await server.close()
