"""Upgrading rooms, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.server import Server, User, open_server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = open_server()
    yield made
    await made.close()


async def upgrade(user: User, room_id: str, version: str = "12", **body: Any) -> str:
    new: str = (await user.post(f"/rooms/{room_id}/upgrade", {"new_version": version, **body}))["replacement_room"]
    return new


async def state(user: User, room_id: str) -> dict[tuple[str, str], Any]:
    return {(one["type"], one["state_key"]): one["content"] for one in await user.get(f"/rooms/{room_id}/state")}


@pytest.mark.parametrize(("old", "new"), [("10", "12"), ("12", "12"), ("12", "11"), ("1", "10")])
async def test_an_upgrade_copies_the_room_and_closes_the_old_one(server: Server, old: str, new: str) -> None:
    alice, bob, troll = await server.register(), await server.register("bob"), await server.register("troll")
    encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    custom = {"type": "com.example.custom", "content": {"mine": True}}
    room_id = await alice.create_room(
        room_version=old,
        name="Old name",
        topic="Old topic",
        preset="public_chat",
        visibility="public",
        room_alias_name="lounge",
        power_level_content_override={"events": {"m.room.name": 77}},
        initial_state=[encryption, custom],
    )
    await bob.join(room_id)
    await alice.post(f"/rooms/{room_id}/ban", {"user_id": troll.user_id, "reason": "spam"})
    replacement = await upgrade(alice, room_id, new)
    before, after = await state(alice, room_id), await state(alice, replacement)
    assert after["m.room.create", ""]["predecessor"]["room_id"] == room_id
    assert after["m.room.create", ""]["room_version"] == new
    for event_type in ("m.room.name", "m.room.topic", "m.room.join_rules", "m.room.encryption"):
        assert after[event_type, ""] == before[event_type, ""]
    assert after["m.room.member", troll.user_id] == {"membership": "ban", "reason": "spam"}
    assert ("m.room.member", bob.user_id) not in after
    assert ("com.example.custom", "") not in after
    assert after["m.room.power_levels", ""]["events"]["m.room.name"] == 77
    assert (alice.user_id in after["m.room.power_levels", ""].get("users", {})) == (new != "12")
    assert before["m.room.tombstone", ""]["replacement_room"] == replacement
    assert before["m.room.power_levels", ""]["events_default"] == 50
    assert before["m.room.power_levels", ""]["invite"] == 50
    assert (await alice.get("/directory/room/%23lounge:halfdoor.test"))["room_id"] == replacement
    assert after["m.room.canonical_alias", ""]["alias"] == "#lounge:halfdoor.test"
    assert [one["room_id"] for one in (await alice.get("/publicRooms"))["chunk"]] == [replacement]
    closed = await bob.request("PUT", f"/rooms/{room_id}/send/m.room.message/t", {"body": "x", "msgtype": "m.text"})
    assert closed.status == 403
    await alice.set_state(replacement, "m.room.name", {"name": "New name"})
    await alice.say(replacement, "hello")


async def test_only_those_who_may_send_a_tombstone_upgrade(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    wanted = {"new_version": "12"}
    assert (await bob.request("POST", f"/rooms/{room_id}/upgrade", wanted)).status == 403
    assert (await bob.request("POST", "/rooms/!none:x.y/upgrade", wanted)).status == 403
    unknown = await alice.request("POST", f"/rooms/{room_id}/upgrade", {"new_version": "99"})
    assert unknown.json["errcode"] == "M_UNSUPPORTED_ROOM_VERSION"
    creators = {"new_version": "12", "additional_creators": ["nobody"]}
    assert (await alice.request("POST", f"/rooms/{room_id}/upgrade", creators)).status == 400
    assert ("m.room.tombstone", "") not in await state(alice, room_id)


async def test_additional_creators_are_set_anew(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(room_version="11")
    await alice.set_state(
        room_id, "m.room.power_levels", {"users": {alice.user_id: 100, bob.user_id: 50}, "users_default": 0}
    )
    after = await state(alice, await upgrade(alice, room_id, additional_creators=[bob.user_id]))
    assert after["m.room.create", ""]["additional_creators"] == [bob.user_id]
    assert after["m.room.power_levels", ""]["users"] == {}


async def test_a_space_keeps_its_children_and_type(server: Server) -> None:
    alice = await server.register()
    child = await alice.create_room()
    room_id = await alice.create_room(creation_content={"type": "m.space"})
    await alice.set_state(room_id, "m.space.child", {"via": ["halfdoor.test"], "order": "a"}, child)
    after = await state(alice, await upgrade(alice, room_id))
    assert after["m.room.create", ""]["type"] == "m.space"
    assert after["m.space.child", child] == {"via": ["halfdoor.test"], "order": "a"}


async def settings(user: User, room_id: str, other: User) -> None:
    me = user.user_id
    await user.put(f"/user/{me}/rooms/{room_id}/tags/m.favourite", {"order": 0.5})
    await user.put(f"/user/{me}/account_data/m.direct", {other.user_id: [room_id]})
    await user.put(f"/pushrules/global/room/{room_id}", {"actions": []})


async def test_settings_follow_who_joins_the_new_room(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.join(room_id)
    await settings(bob, room_id, alice)
    replacement = await upgrade(alice, room_id)
    await bob.join(replacement)
    tags = (await bob.get(f"/user/{bob.user_id}/rooms/{replacement}/tags"))["tags"]
    assert tags == {"m.favourite": {"order": 0.5}}
    direct = await bob.get(f"/user/{bob.user_id}/account_data/m.direct")
    assert direct == {alice.user_id: [room_id, replacement]}
    assert (await bob.get(f"/pushrules/global/room/{replacement}"))["actions"] == []


async def test_B16_a_room_that_only_claims_to_replace_another_gets_nothing(server: Server) -> None:
    alice, bob = await server.register(), await server.register("bob")
    room_id = await alice.create_room(preset="public_chat", room_alias_name="victim")
    await bob.join(room_id)
    await settings(bob, room_id, alice)
    fake = await alice.create_room(preset="public_chat", creation_content={"predecessor": {"room_id": room_id}})
    await bob.join(fake)
    assert (await bob.get(f"/user/{bob.user_id}/rooms/{fake}/tags"))["tags"] == {}
    assert (await bob.get(f"/user/{bob.user_id}/account_data/m.direct")) == {alice.user_id: [room_id]}
    assert (await bob.get("/directory/room/%23victim:halfdoor.test"))["room_id"] == room_id
