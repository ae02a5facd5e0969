"""Rooms in operators' hands: looked into, entered, blocked."""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.hooks import InviteToCheck
from homeserver.protocol.errors import Forbidden
from tests.support.server import SERVER_NAME, Server, User

V1 = "/_synapse/admin/v1"
DETAILS = {
    "room_id",
    "name",
    "topic",
    "avatar",
    "canonical_alias",
    "joined_members",
    "joined_local_members",
    "joined_local_devices",
    "version",
    "creator",
    "encryption",
    "federatable",
    "public",
    "join_rules",
    "guest_access",
    "history_visibility",
    "state_events",
    "room_type",
    "forgotten",
    "tombstoned",
    "replacement_room",
}


async def rooms(admin: User, **query: Any) -> list[str]:
    return [room["name"] for room in (await admin.get(f"{V1}/rooms", **query))["rooms"]]


async def test_rooms_are_listed_filtered_and_paged(server: Server, admin: User) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    tea = await alice.create_room(name="Tea", visibility="public", preset="public_chat", room_alias_name="leaves")
    await alice.create_room(name="coffee", creation_content={"type": "m.space"})
    gone = await bob.create_room(name="Milk")
    await bob.join(tea)
    await bob.post(f"/rooms/{gone}/leave")
    assert await rooms(admin) == ["coffee", "Milk", "Tea"]
    assert await rooms(admin, dir="b") == ["Tea", "Milk", "coffee"]
    assert (
        await rooms(admin, order_by="joined_members") == ["Tea", "coffee", "Milk"]
        or (await rooms(admin, order_by="joined_members"))[0] == "Tea"
    )
    assert await rooms(admin, search_term="TE") == ["Tea"]
    assert await rooms(admin, search_term="leav") == ["Tea"]
    assert await rooms(admin, search_term=gone[1:8]) == ["Milk"]
    assert await rooms(admin, public_rooms="true") == ["Tea"]
    assert await rooms(admin, empty_rooms="true") == ["Milk"]
    assert await rooms(admin, empty_rooms="false") == ["coffee", "Tea"]
    page = await admin.get(f"{V1}/rooms", limit=2)
    assert (page["offset"], page["total_rooms"], page["next_batch"], len(page["rooms"])) == (0, 3, 2, 2)
    page = await admin.get(f"{V1}/rooms", limit=2, **{"from": 2})
    assert (page["offset"], page["prev_batch"], len(page["rooms"])) == (2, 0, 1)
    assert "next_batch" not in page
    assert (await admin.request("GET", f"{V1}/rooms", order_by="secrets")).status == 400
    await alice.set_state(tea, "m.room.name", {"name": "Afternoon"})
    assert await rooms(admin, public_rooms="true") == ["Afternoon"]


async def test_a_room_is_described(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room(
        name="Den",
        topic="Inside",
        initial_state=[{"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}],
    )
    body = await admin.get(f"{V1}/rooms/{room_id}")
    assert set(body) == DETAILS
    assert (body["name"], body["topic"], body["creator"]) == ("Den", "Inside", alice.user_id)
    assert (body["encryption"], body["joined_local_devices"], body["tombstoned"]) == ("m.megolm.v1.aes-sha2", 1, False)
    new = (await alice.post(f"/rooms/{room_id}/upgrade", {"new_version": "11"}))["replacement_room"]
    assert (await admin.get(f"{V1}/rooms/{room_id}"))["replacement_room"] == new
    assert await admin.get(f"{V1}/rooms/{room_id}/members") == {"members": [alice.user_id], "total": 1}
    state = (await admin.get(f"{V1}/rooms/{room_id}/state", type="m.room.topic"))["state"]
    assert [event["content"]["topic"] for event in state] == ["Inside"]
    assert (await admin.get(f"{V1}/rooms/{room_id}/forward_extremities"))["count"] == 1
    assert (await admin.request("GET", f"{V1}/rooms/!none:{SERVER_NAME}")).status == 404


async def test_messages_of_a_private_room_are_read_for_reports(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    await alice.set_state(room_id, "m.room.history_visibility", {"history_visibility": "joined"})
    said = [await alice.say(room_id, f"message {number}") for number in range(5)]
    assert (await admin.request("GET", f"/rooms/{room_id}/messages", dir="b")).status == 403
    path = f"{V1}/rooms/{room_id}"
    page = await admin.get(f"{path}/messages", dir="b", limit=3)
    assert [event["event_id"] for event in page["chunk"]] == said[:1:-1]
    page = await admin.get(f"{path}/messages", dir="b", limit=3, **{"from": page["end"]})
    assert [event["event_id"] for event in page["chunk"]][:2] == said[1::-1]
    only = await admin.get(f"{path}/messages", filter='{"types": ["m.room.create"]}')
    assert [event["type"] for event in only["chunk"]] == ["m.room.create"]
    context = await admin.get(f"{path}/context/{said[2]}", limit=2)
    assert context["event"]["event_id"] == said[2]
    assert [event["event_id"] for event in (*context["events_before"], *context["events_after"])] == [said[1], said[3]]
    at = await admin.get(f"{path}/timestamp_to_event", ts=server.clock.now_ms(), dir="b")
    assert at["event_id"] == said[-1]
    fetched = (await admin.get(f"{V1}/fetch_event/{said[0]}"))["event"]
    assert (fetched["content"]["body"], fetched["room_id"]) == ("message 0", room_id)
    assert (await admin.request("GET", f"{V1}/fetch_event/$none")).status == 404
    assert (await admin.request("GET", f"{path}/context/$none")).status == 404


async def test_the_tree_of_a_private_space_is_seen(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    child = await alice.create_room(name="Child")
    space = await alice.create_room(name="Space", creation_content={"type": "m.space"})
    await alice.set_state(space, "m.space.child", {"via": [SERVER_NAME]}, child)
    body = await admin.get(f"{V1}/rooms/{space}/hierarchy")
    assert [room["name"] for room in body["rooms"]] == ["Space", "Child"]
    shallow = await admin.get(f"{V1}/rooms/{space}/hierarchy", max_depth=0)
    assert len(shallow["rooms"]) == 1


async def test_media_of_a_room_are_listed(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    room_id = await alice.create_room()
    own, far = f"mxc://{SERVER_NAME}/abc", "mxc://elsewhere.test/def"
    await alice.send(room_id, "m.room.message", {"msgtype": "m.image", "body": "x", "url": own})
    await alice.send(
        room_id, "m.room.message", {"msgtype": "m.image", "body": "x", "url": own, "info": {"thumbnail_url": far}}
    )
    assert await admin.get(f"{V1}/room/{room_id}/media") == {"local": [own], "remote": [far]}


async def test_users_are_put_into_rooms(server: Server, admin: User) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(room_alias_name="den")
    path = f"{V1}/join/%23den%3A{SERVER_NAME}"
    assert await admin.post(path, {"user_id": bob.user_id}) == {"room_id": room_id}
    assert bob.user_id in (await admin.get(f"{V1}/rooms/{room_id}/members"))["members"]
    assert (await admin.request("POST", path, {"user_id": "@x:elsewhere.test"})).status == 400
    assert (await admin.request("POST", path, {"user_id": f"@no:{SERVER_NAME}"})).status == 404
    assert (await admin.request("POST", f"{V1}/join/{room_id}", {})).json["errcode"] == "M_MISSING_PARAM"


async def test_a_room_gets_a_new_administrator(server: Server, admin: User) -> None:
    alice = await server.register("alice")
    for version in ("10", "12"):
        room_id = await alice.create_room(room_version=version)
        await admin.post(f"{V1}/rooms/{room_id}/make_room_admin")
        await admin.join(room_id)
        await admin.set_state(room_id, "m.room.topic", {"topic": "mine too"})
        levels = (await admin.get(f"{V1}/rooms/{room_id}/state", type="m.room.power_levels"))["state"][0]["content"]
        assert levels["users"][admin.user_id] >= 100, version
        await alice.say(room_id, "still here")
    empty = await alice.create_room()
    await alice.post(f"/rooms/{empty}/leave")
    assert (await admin.request("POST", f"{V1}/rooms/{empty}/make_room_admin", {})).status == 400


async def test_nobody_enters_a_blocked_room(server: Server, admin: User) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    path = f"{V1}/rooms/{room_id}/block"
    assert await admin.get(path) == {"block": False}
    assert await admin.put(path, {"block": True}) == {"block": True}
    assert await admin.get(path) == {"block": True, "user_id": admin.user_id}
    member = {"membership": "join"}
    for user, method, place, body in (
        (bob, "POST", f"/rooms/{room_id}/join", {}),
        (bob, "POST", f"/knock/{room_id}", {}),
        (alice, "POST", f"/rooms/{room_id}/invite", {"user_id": bob.user_id}),
        (bob, "PUT", f"/rooms/{room_id}/state/m.room.member/{bob.user_id}", member),
    ):
        answer = await user.request(method, place, body)
        assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN"), place
    server.homeserver.admin.forget_all()
    assert (await bob.request("POST", f"/rooms/{room_id}/join", {})).status == 403
    assert await admin.put(path, {"block": False}) == {"block": False}
    await bob.join(room_id)
    unknown = f"{V1}/rooms/!unknown:elsewhere.test/block"
    await admin.put(unknown, {"block": True})
    invite = InviteToCheck("!unknown:elsewhere.test", "@eve:elsewhere.test", bob.user_id)
    blocks = server.homeserver.admin.rooms.blocks
    assert blocks.check_invite in server.homeserver.hooks.check_invite  # which other servers' invites are asked, too
    with pytest.raises(Forbidden):
        await blocks.check_invite(invite)
    assert (await admin.get(unknown))["block"] is True
    assert (await bob.request("POST", "/join/!unknown:elsewhere.test", {})).status == 403


async def test_reports_are_read_and_removed(server: Server, admin: User) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(name="Den", preset="public_chat")
    await bob.join(room_id)
    event_id = await alice.say(room_id, "rude")
    for number in range(3):
        await bob.post(f"/rooms/{room_id}/report/{event_id}", {"reason": f"reason {number}"})
        await server.clock.advance(1)
    await bob.post(f"/users/{alice.user_id}/report", {"reason": "a pest"})
    await bob.post(f"/rooms/{room_id}/report", {"reason": "a den"})
    body = await admin.get(f"{V1}/event_reports", limit=2)
    assert (body["total"], body["next_token"]) == (3, 2)
    first = body["event_reports"][0]
    assert first["reason"] == "reason 2"
    assert (first["sender"], first["user_id"], first["event_id"]) == (alice.user_id, bob.user_id, event_id)
    assert (first["name"], first["room_id"], first["canonical_alias"], first["score"]) == ("Den", room_id, None, None)
    oldest = await admin.get(f"{V1}/event_reports", dir="f", **{"from": 2})
    assert [report["reason"] for report in oldest["event_reports"]] == ["reason 2"]
    for query, total in (({"user_id": "bob"}, 3), ({"user_id": "alice"}, 0), ({"event_sender_user_id": "alice"}, 3)):
        assert (await admin.get(f"{V1}/event_reports", **query))["total"] == total
    one = await admin.get(f"{V1}/event_reports/{first['id']}")
    assert one["event_json"]["content"]["body"] == "rude"
    users = await admin.get(f"{V1}/user_reports")
    assert (users["total"], users["user_reports"][0]["target_user_id"]) == (1, alice.user_id)
    number = users["user_reports"][0]["id"]
    assert (await admin.get(f"{V1}/user_reports/{number}"))["reason"] == "a pest"
    assert (await admin.request("GET", f"{V1}/event_reports/{number}")).status == 404
    assert len((await admin.get("/_halfdoor/admin/v1/reports"))["reports"]) == 5
    await admin.request("DELETE", f"{V1}/event_reports/{first['id']}")
    assert (await admin.request("GET", f"{V1}/event_reports/{first['id']}")).status == 404
    assert (await admin.request("GET", f"{V1}/event_reports/x")).status == 400
    assert (await admin.get(f"{V1}/event_reports"))["total"] == 2
