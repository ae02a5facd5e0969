"""What clients keep or ask beyond the specification, and the server has only to let through; docs/msc.md lists it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.client_api.versions import UNSTABLE_FEATURES
from tests.oauth.apps import open_oauth_server
from tests.support.server import Server

TABLE = Path(__file__).parents[2] / "docs/msc.md"
PACK = {"images": {"party": {"url": "mxc://halfdoor.test/party", "usage": ["emoticon"]}}, "pack": {"display_name": "P"}}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = open_oauth_server()  # as the default settings have it
    yield running
    await running.close()


def rows() -> list[list[str]]:
    """The rows of the table of docs/msc.md: number, feature names, answer, what it is."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:] if not line.startswith("| ---")]


async def test_what_is_announced_is_written_down_as_whole_and_the_other_way_round(server: Server) -> None:
    listed = {name.strip("`"): row[2] for row in rows() for name in row[1].split() if name.startswith("`")}
    announced = (await server.request("GET", "/_matrix/client/versions")).json["unstable_features"]
    by_setting = {name for name, answer in listed.items() if answer == "setting"}
    assert by_setting <= set(announced)
    assert {name for name, value in announced.items() if value} - by_setting == {
        name for name, answer in listed.items() if answer == "whole"
    }
    assert set(UNSTABLE_FEATURES) <= set(announced)


def test_every_proposal_has_an_answer_and_each_stands_once() -> None:
    numbers = [row[0] for row in rows()]
    assert len(numbers) == len(set(numbers)) > 40
    assert {row[2] for row in rows()} <= {"whole", "setting", "stable", "passes", "no"}
    assert all(len(row) == 4 and row[3] for row in rows())


async def test_image_packs_and_used_emoji_pass(server: Server) -> None:
    """MSC2545 and MSC4356 are state and account data that only clients read."""
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await alice.set_state(room_id, "im.ponies.room_emotes", PACK, "party")
    assert await bob.get(f"/rooms/{room_id}/state/im.ponies.room_emotes/party") == PACK
    stored: dict[str, dict[str, Any]] = {
        "im.ponies.user_emotes": PACK,
        "im.ponies.emote_rooms": {"rooms": {room_id: {"party": {}}}},
        "m.recent_emoji": {"recent_emoji": [{"emoji": "\N{PARTY POPPER}", "total": 2**53 - 1}]},
        "org.matrix.msc3890.local_notification_settings.DEVICE": {"is_silenced": True},
    }
    await bob.sync()
    for type, content in stored.items():
        await bob.put(f"/user/{bob.user_id}/account_data/{type}", content)
        assert await bob.get(f"/user/{bob.user_id}/account_data/{type}") == content
    told = {event["type"]: event["content"] for event in (await bob.sync())["account_data"]["events"]}
    assert told == stored


async def test_answers_to_a_poll_are_found_and_notify_nobody(server: Server) -> None:
    """MSC3381, with the push rules of MSC3930."""
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await bob.sync()
    poll = await alice.send(room_id, "org.matrix.msc3381.poll.start", {"org.matrix.msc3381.poll.start": {}})
    room = (await bob.sync())["rooms"]["join"][room_id]
    assert room["unread_notifications"]["notification_count"] == 1
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{poll}")
    await bob.sync()
    answer = {"org.matrix.msc3381.poll.response": {"answers": ["yes"]}}
    relation = {"m.relates_to": {"rel_type": "m.reference", "event_id": poll}}
    voted = await alice.send(room_id, "org.matrix.msc3381.poll.response", {**answer, **relation})
    room = (await bob.sync())["rooms"]["join"][room_id]
    assert room["unread_notifications"]["notification_count"] == 0
    path = f"/_matrix/client/v1/rooms/{room_id}/relations/{poll}/m.reference/org.matrix.msc3381.poll.response"
    assert [event["event_id"] for event in (await bob.get(path))["chunk"]] == [voted]
    shown = await bob.get(f"/rooms/{room_id}/event/{poll}")
    assert shown["unsigned"]["m.relations"]["m.reference"]["chunk"] == [{"event_id": voted}]


async def test_unstable_paths_of_what_is_stable_now_are_still_answered(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat", name="Hall")
    await bob.join(room_id)
    event_id = await alice.say(room_id, "root")
    unstable = "/_matrix/client/unstable"
    field = f"{unstable}/uk.tcpip.msc4133/profile/{alice.user_id}/org.example.pronouns"
    await alice.put(field, {"org.example.pronouns": "she"})
    assert await bob.get(field) == {"org.example.pronouns": "she"}
    await alice.ok("DELETE", field)
    assert (await bob.request("GET", field)).status == 404
    await bob.post(f"{unstable}/org.matrix.msc4151/rooms/{room_id}/report", {"reason": "noise"})
    for path in ("summary/{}", "rooms/{}/summary"):
        assert (await bob.get(f"{unstable}/im.nheko.summary/{path.format(room_id)}"))["name"] == "Hall"
    assert (await bob.get(f"{unstable}/rooms/{room_id}/relations/{event_id}"))["chunk"] == []
    at_time = f"{unstable}/org.matrix.msc3030/rooms/{room_id}/timestamp_to_event"
    assert "event_id" in await bob.get(at_time, ts=server.clock.now_ms(), dir="b")
    assert (await server.request("GET", "/_matrix/client/r0/login")).status == 200
