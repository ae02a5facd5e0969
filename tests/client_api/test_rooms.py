"""POST /createRoom and /joined_rooms: every option, in every room version."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from homeserver.protocol.room_versions import ROOM_VERSIONS
from tests.support.server import SERVER_NAME, V1, Server, User

VERSIONS = sorted(ROOM_VERSIONS, key=int)


async def state_of(user: User, room_id: str) -> dict[tuple[str, str], Any]:
    return {(one["type"], one["state_key"]): one["content"] for one in await user.get(f"/rooms/{room_id}/state")}


async def events_of(user: User, room_id: str) -> list[Any]:
    page = await user.get(f"/rooms/{room_id}/messages", dir="f", limit=100)
    found: list[Any] = page["chunk"]
    return found


@pytest.mark.parametrize("version", VERSIONS)
async def test_room_of_each_version_is_made_and_talked_in(whole_server: Server, version: str) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room = await alice.create_room(room_version=version, preset="public_chat", name="Hall", topic="Talk")
    state = await state_of(alice, room)
    create = state["m.room.create", ""]
    assert create["room_version"] == version
    assert ("creator" in create) == (int(version) < 11)
    levels = state["m.room.power_levels", ""]
    assert levels["users"] == ({} if version == "12" else {alice.user_id: 100})
    assert room.endswith(f":{SERVER_NAME}") == (version != "12")
    await bob.join(room)
    said = await bob.say(room, "hello")
    await alice.set_state(room, "m.room.topic", {"topic": "More"})
    place = quote(said, safe="")  # version 3 has slashes in it
    assert (await alice.get(f"/rooms/{room}/event/{place}"))["content"]["body"] == "hello"
    redaction = (await alice.put(f"/rooms/{room}/redact/{place}/r1", {"reason": "why not"}))["event_id"]
    emptied = await bob.get(f"/rooms/{room}/event/{place}")
    because = emptied["unsigned"]["redacted_because"]
    assert (emptied["content"], because["event_id"]) == ({}, redaction)
    assert because["redacts"] == because["content"]["redacts"] == said
    assert because["content"]["reason"] == "why not"


@pytest.mark.parametrize(
    ("body", "join_rule", "guests"),
    [
        ({}, "invite", "can_join"),
        ({"visibility": "private"}, "invite", "can_join"),
        ({"visibility": "public"}, "public", None),
        ({"preset": "private_chat"}, "invite", "can_join"),
        ({"preset": "trusted_private_chat"}, "invite", "can_join"),
        ({"preset": "public_chat"}, "public", None),
        ({"preset": "private_chat", "visibility": "public"}, "invite", "can_join"),
    ],
)
async def test_preset_sets_join_rule_visibility_and_guest_access(
    whole_server: Server, body: dict[str, Any], join_rule: str, guests: str | None
) -> None:
    alice = await whole_server.register()
    room = await alice.create_room(**body)
    state = await state_of(alice, room)
    assert state["m.room.join_rules", ""] == {"join_rule": join_rule}
    assert state["m.room.history_visibility", ""] == {"history_visibility": "shared"}
    assert state.get(("m.room.guest_access", ""), {}).get("guest_access") == guests
    listed = await alice.get(f"/directory/list/room/{room}")
    assert listed["visibility"] == body.get("visibility", "private")


async def test_events_come_in_the_specified_order(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room = await alice.create_room(
        room_alias_name="hall",
        name="Hall",
        topic="Talk",
        invite=[bob.user_id],
        is_direct=True,
        initial_state=[
            {"type": "m.room.join_rules", "content": {"join_rule": "knock"}},
            {"type": "org.example.thing", "state_key": "a", "content": {"x": 1}},
        ],
        creation_content={"m.federate": False, "type": "m.space", "creator": "@mallory:x", "room_version": "3"},
    )
    events = await events_of(alice, room)
    assert [one["type"] for one in events] == [
        "m.room.create",
        "m.room.member",
        "m.room.power_levels",
        "m.room.canonical_alias",
        "m.room.history_visibility",
        "m.room.guest_access",
        "m.room.join_rules",
        "org.example.thing",
        "m.room.name",
        "m.room.topic",
        "m.room.member",
    ]
    assert events[0]["content"] == {"m.federate": False, "type": "m.space", "room_version": "12"}
    assert events[3]["content"] == {"alias": f"#hall:{SERVER_NAME}"}
    assert events[-2]["content"]["m.topic"] == {"m.text": [{"body": "Talk", "mimetype": "text/plain"}]}
    assert events[-1]["content"] == {"membership": "invite", "is_direct": True}
    assert (await bob.get("/directory/room/" + f"%23hall:{SERVER_NAME}"))["room_id"] == room
    invite = (await bob.sync())["rooms"]["invite"][room]["invite_state"]["events"]
    assert {one["type"] for one in invite} >= {"m.room.create", "m.room.name", "m.room.join_rules", "m.room.member"}


async def test_initial_state_overrides_presets_and_power_levels_are_overridden(whole_server: Server) -> None:
    alice = await whole_server.register()
    room = await alice.create_room(
        preset="public_chat",
        name="given",
        initial_state=[
            {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}},
            {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}},
            {"type": "m.room.name", "content": {"name": "overridden by the name given"}},
        ],
        power_level_content_override={"events_default": 30, "events": {"m.room.name": 7}},
    )
    state = await state_of(alice, room)
    assert state["m.room.history_visibility", ""] == {"history_visibility": "joined"}
    assert state["m.room.guest_access", ""] == {"guest_access": "can_join"}
    assert state["m.room.name", ""] == {"name": "given"}
    assert state["m.room.power_levels", ""]["events_default"] == 30
    assert state["m.room.power_levels", ""]["events"] == {"m.room.name": 7}


@pytest.mark.parametrize("version", ["11", "12"])
async def test_trusted_private_chat_gives_the_invited_the_creators_power(whole_server: Server, version: str) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room = await alice.create_room(preset="trusted_private_chat", invite=[bob.user_id], room_version=version)
    state = await state_of(alice, room)
    if version == "12":
        assert state["m.room.create", ""]["additional_creators"] == [bob.user_id]
        assert state["m.room.power_levels", ""]["users"] == {}
    else:
        assert state["m.room.power_levels", ""]["users"] == {alice.user_id: 100, bob.user_id: 100}
    await bob.join(room)
    await bob.set_state(room, "m.room.tombstone", {"body": "gone", "replacement_room": "!x:y"})


async def test_A03_additional_creators_outrank_everybody(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    room = await alice.create_room(
        invite=[bob.user_id], creation_content={"additional_creators": [bob.user_id, bob.user_id]}
    )
    await bob.join(room)
    await bob.set_state(room, "m.room.tombstone", {"body": "gone", "replacement_room": "!x:y"})
    kick = await bob.request("POST", f"/rooms/{room}/kick", {"user_id": alice.user_id})
    assert kick.status == 403


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"room_version": "99"}, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"room_version": 12}, "M_BAD_JSON"),
        ({"preset": "nonsense"}, "M_BAD_JSON"),
        ({"visibility": "nonsense"}, "M_BAD_JSON"),
        ({"invite": ["nobody"]}, "M_INVALID_PARAM"),
        ({"invite": "@bob:x"}, "M_BAD_JSON"),
        ({"initial_state": [{"type": "m.room.member", "state_key": "@a:b", "content": {}}]}, "M_BAD_STATE"),
        ({"initial_state": [{"type": "m.room.create", "content": {}}]}, "M_BAD_STATE"),
        ({"initial_state": [{"content": {}}]}, "M_MISSING_PARAM"),
        ({"initial_state": [{"type": "x", "content": {"pi": 3.14}}]}, "M_BAD_JSON"),
        ({"power_level_content_override": {"users": {"nobody": 100}}}, "M_INVALID_ROOM_STATE"),
        ({"power_level_content_override": {"users": {"@alice:halfdoor.test": 100}}}, "M_INVALID_ROOM_STATE"),
        ({"power_level_content_override": {"ban": "50"}}, "M_INVALID_ROOM_STATE"),
        ({"power_level_content_override": []}, "M_BAD_JSON"),
        ({"creation_content": {"additional_creators": ["nobody"]}}, "M_INVALID_PARAM"),
        ({"creation_content": {"additional_creators": "@bob:x"}}, "M_INVALID_PARAM"),
        ({"room_alias_name": "has space"}, "M_INVALID_PARAM"),
        ({"room_alias_name": "has:colon"}, "M_INVALID_PARAM"),
        ({"room_alias_name": ""}, "M_INVALID_PARAM"),
        ({"room_alias_name": "x" * 300}, "M_INVALID_PARAM"),
        ({"name": 5}, "M_BAD_JSON"),
    ],
)
async def test_bad_request_makes_no_room(whole_server: Server, body: dict[str, Any], errcode: str) -> None:
    alice = await whole_server.register()
    answer = await alice.request("POST", "/createRoom", body)
    assert (answer.status, answer.json["errcode"]) == (400, errcode)
    assert (await alice.get("/joined_rooms"))["joined_rooms"] == []


async def test_taken_alias_makes_no_second_room(whole_server: Server) -> None:
    alice = await whole_server.register()
    room = await alice.create_room(room_alias_name="hall")
    answer = await alice.request("POST", "/createRoom", {"room_alias_name": "hall"})
    assert (answer.status, answer.json["errcode"]) == (400, "M_ROOM_IN_USE")
    assert (await alice.get("/joined_rooms"))["joined_rooms"] == [room]


async def test_inviting_oneself_is_refused(whole_server: Server) -> None:
    alice = await whole_server.register()
    answer = await alice.request("POST", "/createRoom", {"invite": [alice.user_id]})
    assert answer.status == 403


async def test_joined_rooms_lists_what_one_is_in(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    rooms = {await alice.create_room(), await alice.create_room()}
    public = await bob.create_room(preset="public_chat")
    await alice.join(public)
    assert set((await alice.get("/joined_rooms"))["joined_rooms"]) == {*rooms, public}
    await alice.post(f"/rooms/{public}/leave")
    assert set((await alice.get("/joined_rooms"))["joined_rooms"]) == rooms
    assert (await whole_server.request("GET", "/joined_rooms")).status == 401


async def test_mutual_rooms_are_those_that_both_are_in_now(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    shared, left, invited = [await alice.create_room(preset="public_chat") for _ in range(3)]
    await alice.create_room()
    await bob.join(shared)
    await bob.join(left)
    await bob.post(f"/rooms/{left}/leave")
    await alice.invite(invited, bob)
    path = f"{V1}/mutual_rooms"
    assert await alice.get(path, user_id=bob.user_id) == {"joined": [shared], "count": 1}
    assert await bob.get(path, user_id=alice.user_id) == {"joined": [shared], "count": 1}
    assert await bob.get(path, user_id=f"@nobody:{SERVER_NAME}") == {"joined": [], "count": 0}
    assert (await bob.request("GET", path, user_id=bob.user_id)).status == 400
    assert (await bob.request("GET", path)).status == 400
    for wrong in ({"user_id": "bob"}, {"user_id": alice.user_id, "from": "x"}):
        answer = await bob.request("GET", path, **wrong)
        assert (answer.status, answer.json["errcode"]) == (400, "M_INVALID_PARAM")
    unstable = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms"
    assert await bob.get(unstable, user_id=alice.user_id) == {"joined": [shared], "count": 1}


async def test_member_events_carry_the_profile(whole_server: Server) -> None:
    alice, bob = await whole_server.register("alice"), await whole_server.register("bob")
    await alice.put(f"/profile/{alice.user_id}/displayname", {"displayname": "Alice"})
    await bob.put(f"/profile/{bob.user_id}/avatar_url", {"avatar_url": "mxc://a/b"})
    room = await alice.create_room(invite=[bob.user_id])
    state = await state_of(alice, room)
    assert state["m.room.member", alice.user_id] == {"membership": "join", "displayname": "Alice"}
    assert state["m.room.member", bob.user_id] == {"membership": "invite", "avatar_url": "mxc://a/b"}


async def test_room_is_the_same_on_each_engine(stored_server: Server) -> None:
    alice, bob = await stored_server.register("alice"), await stored_server.register("bob")
    room = await alice.create_room(
        preset="trusted_private_chat", room_alias_name="hall", name="Hall", invite=[bob.user_id], visibility="public"
    )
    await bob.join(room)
    assert len(await events_of(bob, room)) == 10
