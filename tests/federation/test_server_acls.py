"""Whom a room's access control list denies is denied on every way that leads to the room (B12).

The table has a row for each endpoint that names a room, as the routes say: a new endpoint without a row fails.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest

from tests.federation.lies import Scene
from tests.support.federation import settle
from tests.support.liar import V1, V2, Liar

DENIED = "M_FORBIDDEN"
WAYS: dict[tuple[str, str], tuple[str, Any]] = {
    ("GET", f"{V1}/make_join/{{room_id}}/{{user_id}}"): ("ver=11", None),
    ("PUT", f"{V2}/send_join/{{room_id}}/{{event_id}}"): ("", "join"),
    ("GET", f"{V1}/make_knock/{{room_id}}/{{user_id}}"): ("ver=11", None),
    ("PUT", f"{V1}/send_knock/{{room_id}}/{{event_id}}"): ("", "knock"),
    ("GET", f"{V1}/make_leave/{{room_id}}/{{user_id}}"): ("", None),
    ("PUT", f"{V2}/send_leave/{{room_id}}/{{event_id}}"): ("", "leave"),
    ("PUT", f"{V2}/invite/{{room_id}}/{{event_id}}"): ("", "invite"),
    ("PUT", f"{V1}/invite/{{room_id}}/{{event_id}}"): ("", "invite v1"),
    ("PUT", f"{V1}/exchange_third_party_invite/{{room_id}}"): ("", "exchange"),
    ("GET", f"{V1}/hierarchy/{{room_id}}"): ("", None),
    ("GET", f"{V1}/timestamp_to_event/{{room_id}}"): ("ts=1&dir=f", None),
    ("GET", f"{V1}/event/{{event_id}}"): ("", None),
    ("GET", f"{V1}/state_ids/{{room_id}}"): ("event_id={event_id}", None),
    ("GET", f"{V1}/state/{{room_id}}"): ("event_id={event_id}", None),
    ("GET", f"{V1}/event_auth/{{room_id}}/{{event_id}}"): ("", None),
    ("GET", f"{V1}/backfill/{{room_id}}"): ("v={event_id}&limit=10", None),
    ("POST", f"{V1}/get_missing_events/{{room_id}}"): ("", "missing"),
}
OF_NO_ROOM = {"txn_id", "media_id", "user_id", "server_name", "query_type"}
"""Parameters of paths that lead to no room."""


def body_of(scene: Scene, kind: Any) -> Any:
    """A body with which the request would be taken, or nearly, from a server that is allowed."""
    who = scene.liar.user
    if kind == "missing":
        return {"earliest_events": [], "latest_events": [scene.room.last.event_id], "limit": 10, "min_depth": 0}
    if kind == "exchange":
        proof = {"display_name": "x", "signed": {"mxid": who, "token": "x", "signatures": {}}}
        content = {"membership": "invite", "third_party_invite": proof}
        member = {"type": "m.room.member", "room_id": scene.room_id, "sender": scene.alice.user_id, "state_key": who}
        return {**member, "content": content}
    if kind in ("invite", "invite v1"):
        event = scene.liar.event(scene.room, "m.room.member", {"membership": "invite"}, state_key="@bob:one.test").pdu
        return event if kind == "invite v1" else {"room_version": "11", "event": event, "invite_room_state": []}
    if kind is None:
        return None
    return scene.liar.event(scene.room, "m.room.member", {"membership": kind}, state_key=who).pdu


async def go(scene: Scene, liar: Liar, way: tuple[str, str]) -> tuple[int, Any]:
    method, template = way
    query, kind = WAYS[way]
    names = {"room_id": scene.room_id, "event_id": scene.room.last.event_id, "user_id": liar.user}
    filled = {name: quote(value, safe="") for name, value in names.items()}
    target = template.format(**filled) + (f"?{query.format(**filled)}" if query else "")
    answer = await liar.request(scene.one, method, target, body_of(scene, kind))
    return answer.status, answer.json


def test_B12_every_endpoint_that_names_a_room_has_a_row(scene: Scene) -> None:
    named = set()
    for route in scene.one.federation.routes:
        names = set(re.findall(r"{(\w+)\??}", route.path))
        if names - OF_NO_ROOM:
            named.add((route.method, route.path))
    assert named == set(WAYS)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[1].removeprefix("/_matrix/federation/"))
async def test_B12_whom_the_list_denies_is_denied(scene: Scene, way: tuple[str, str]) -> None:
    acl = {"allow": ["*"], "deny": ["liar.test"], "allow_ip_literals": True}
    allowed = await go(scene, scene.liar, way)
    assert "access control list" not in str(allowed)
    await scene.alice.set_state(scene.room_id, "m.room.server_acl", acl)
    await settle(scene.one)
    status, body = await go(scene, scene.liar, way)
    if "hierarchy" in way[1]:  # which does not say whether there is such a room
        assert (status, body["errcode"]) == (404, "M_NOT_FOUND")
    else:
        assert (status, body["errcode"]) == (403, DENIED)
    assert set(body) == {"errcode", "error"}


async def test_B12_what_is_about_a_room_is_dropped_in_transactions_and_the_rest_is_not(scene: Scene) -> None:
    other = await scene.alice.create_room(preset="public_chat", room_version="11")
    await scene.liar.join(scene.one, other)
    said = await scene.alice.say(scene.room_id, "hello")
    await scene.alice.set_state(scene.room_id, "m.room.server_acl", {"allow": ["*"], "deny": ["liar.test"]})
    typing = [{"room_id": room, "user_id": scene.liar.user, "typing": True} for room in (scene.room_id, other)]
    there = (await scene.one.homeserver.rooms.live.get(other)).timeline[-1].event_id
    read = {scene.liar.user: {"event_ids": [said], "data": {"ts": 1}}}
    read_there = {scene.liar.user: {"event_ids": [there], "data": {"ts": 1}}}
    receipts = {scene.room_id: {"m.read": read}, other: {"m.read": read_there}}
    messages: dict[str, Any] = {scene.alice.user_id: {"*": {}}}
    message = {"sender": scene.liar.user, "type": "m.x", "message_id": "1", "messages": messages}
    event = scene.liar.event(scene.room)
    told = await scene.liar.send(
        scene.one,
        event,
        edus=[
            *({"edu_type": "m.typing", "content": content} for content in typing),
            {"edu_type": "m.receipt", "content": receipts},
            {"edu_type": "m.direct_to_device", "content": message},
        ],
    )
    assert "access control list" in told[event.event_id]["error"]
    body = await scene.alice.sync()
    assert "m.x" in {one["type"] for one in body["to_device"]["events"]}
    seen = {
        room_id: {one["type"] for one in room.get("ephemeral", {}).get("events", [])}
        for room_id, room in body["rooms"]["join"].items()
    }
    assert seen == {scene.room_id: set(), other: {"m.typing", "m.receipt"}}


async def test_B12_nothing_is_asked_of_or_told_to_whom_the_list_denies(scene: Scene) -> None:
    await scene.alice.set_state(scene.room_id, "m.room.server_acl", {"allow": ["*"], "deny": ["liar.test"]})
    await settle(scene.one)
    scene.liar.asked.clear()
    await scene.alice.say(scene.room_id, "not for liars")
    await scene.alice.put(f"/rooms/{scene.room_id}/typing/{scene.alice.user_id}", {"typing": True})
    await settle(scene.one)
    assert not any(scene.room_id in str(asked.body) for asked in scene.liar.asked)
