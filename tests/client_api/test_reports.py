"""Reporting rooms, events and users, over HTTP, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from homeserver.storage.database import Database
from tests.support.server import Server, open_server


@pytest.fixture
async def server(database: Database) -> AsyncIterator[Server]:
    made = open_server(database)
    yield made
    await made.homeserver.close()


async def test_reports_are_kept_for_whoever_runs_the_server(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    event_id = await alice.say(room_id, "rude")
    await bob.join(room_id)
    await bob.post(f"/rooms/{room_id}/report/{event_id}", {"reason": "rude", "score": -100})
    await server.clock.advance(1)
    await bob.post(f"/rooms/{room_id}/report", {"reason": "all of it"})
    await server.clock.advance(1)
    await bob.post(f"/users/{alice.user_id}/report", {"reason": ""})
    kept = await server.homeserver.rooms.reports.list_reports()
    assert [(one.room_id, one.event_id, one.user_id, one.reason) for one in kept] == [
        (None, None, alice.user_id, ""),
        (room_id, None, None, "all of it"),
        (room_id, event_id, None, "rude"),
    ]
    assert {one.reporter for one in kept} == {bob.user_id}


async def test_G12_reports_of_what_does_not_exist_get_the_same_answer(server: Server) -> None:
    alice, mallory = await server.register(), await server.register("mallory")
    room_id = await alice.create_room()
    event_id = await alice.say(room_id, "secret")
    paths = [
        f"/rooms/{room_id}/report/{event_id}",
        f"/rooms/{room_id}/report/$missing",
        f"/rooms/!missing:x.y/report/{event_id}",
        "/rooms/!missing:x.y/report",
        f"/rooms/{room_id}/report",
        "/users/@nobody:halfdoor.test/report",
        f"/users/{alice.user_id}/report",
    ]
    answers = [await mallory.request("POST", path, {"reason": "x"}) for path in paths]
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"{}")}
    kept = await server.homeserver.rooms.reports.list_reports()
    assert [one.event_id for one in kept if one.event_id] == []


async def test_reports_need_a_reason_that_is_a_short_text(server: Server) -> None:
    alice = await server.register()
    room_id = await alice.create_room()
    assert (await alice.request("POST", f"/rooms/{room_id}/report", {})).json["errcode"] == "M_MISSING_PARAM"
    assert (await alice.request("POST", f"/rooms/{room_id}/report", {"reason": 3})).status == 400
    assert (await alice.request("POST", f"/rooms/{room_id}/report", {"reason": "x" * 5000})).status == 400
    assert (await alice.request("POST", "/users/nobody/report", {"reason": "x"})).status == 400
