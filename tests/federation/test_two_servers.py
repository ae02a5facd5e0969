"""Two homeservers and their users, over the real routes of both."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.support.federation import FederatedServer, Network, settle


@pytest.mark.parametrize("version", ["1", "3", "6", "10", "11", "12"])
async def test_user_of_another_server_joins_and_they_talk(
    one: FederatedServer, two: FederatedServer, version: str
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat", room_version=version)
    await alice.say(room_id, "你好")
    joined = await bob.post(f"/join/{room_id}", {}, via="one.test")
    assert joined == {"room_id": room_id}
    said = await bob.say(room_id, "hello")
    await settle(one, two)
    told = await alice.say(room_id, "再见")
    await settle(one, two)
    for user in (alice, bob):
        page = await user.get(f"/rooms/{room_id}/messages", dir="b", limit=50)
        ids = [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]
        assert ids[:2] == [told, said]
        members = await user.get(f"/rooms/{room_id}/joined_members")
        assert sorted(members["joined"]) == [alice.user_id, bob.user_id]
    assert (await two.homeserver.rooms.live.get(room_id)).state_ids == (
        await one.homeserver.rooms.live.get(room_id)
    ).state_ids


async def test_invited_user_of_another_server_joins(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="private_chat", name="商店")
    await alice.invite(room_id, bob)
    body = await bob.sync()
    names = {event["type"] for event in body["rooms"]["invite"][room_id]["invite_state"]["events"]}
    assert {"m.room.create", "m.room.name", "m.room.join_rules"} <= names
    await bob.join(room_id)
    await bob.say(room_id, "我来了")
    await settle(one, two)
    page = await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["content"]["body"] == "我来了"
    body = await bob.sync()
    assert room_id in body["rooms"]["join"]
    assert "invite" not in body["rooms"]


async def test_invite_is_rejected(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="private_chat")
    await alice.invite(room_id, bob)
    await bob.post(f"/rooms/{room_id}/leave", {})
    await settle(one, two)
    member = await alice.get(f"/rooms/{room_id}/state/m.room.member/{bob.user_id}")
    assert member["membership"] == "leave"
    assert room_id not in (await bob.sync()).get("rooms", {}).get("invite", {})


async def test_private_room_lets_nobody_in_from_elsewhere(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="private_chat")
    refused = await bob.request("POST", f"/join/{room_id}", {}, via="one.test")
    assert refused.status == 403
    assert refused.json["errcode"] == "M_FORBIDDEN"


async def test_server_that_was_away_catches_up(network: Network, one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two)
    network.lost = lambda origin, request: True
    sent = [await alice.say(room_id, f"{number}") for number in range(8)]
    await settle(one, two)
    network.lost = lambda origin, request: False
    await one.clock.advance(3600)
    await two.clock.advance(3600)
    await settle(one, two)
    page = await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=20)
    ids = [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]
    assert ids == sent[::-1]


async def test_kick_of_the_last_user_is_heard_of(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two)
    await alice.post(f"/rooms/{room_id}/kick", {"user_id": bob.user_id})
    await settle(one, two)
    body = await bob.sync()
    assert room_id not in body.get("rooms", {}).get("join", {})
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two)
    await bob.say(room_id, "again")
    await settle(one, two)
    page = await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["content"]["body"] == "again"


async def test_history_of_before_the_join_is_fetched_when_somebody_scrolls_there(
    one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    sent = [await alice.say(room_id, f"{number}") for number in range(150)]
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two)
    sent.append(await bob.say(room_id, "in the end"))
    seen: list[str] = []
    types: list[str] = []
    query: dict[str, str] = {}
    for _ in range(30):
        page = await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=20, **query)
        seen += [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]
        types += [event["type"] for event in page["chunk"]]
        if "end" not in page:
            break
        query = {"from": page["end"]}
    assert seen == sent[::-1]
    assert types[-1] == "m.room.create"


async def test_knock_is_answered_by_an_invite(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="private_chat", name="门")
    await alice.set_state(room_id, "m.room.join_rules", {"join_rule": "knock"})
    await bob.post(f"/knock/{room_id}", {"reason": "请让我进来"}, via="one.test")
    body = await bob.sync()
    shown = {event["type"] for event in body["rooms"]["knock"][room_id]["knock_state"]["events"]}
    assert {"m.room.create", "m.room.name"} <= shown
    member = await alice.get(f"/rooms/{room_id}/state/m.room.member/{bob.user_id}")
    assert member["membership"] == "knock"
    assert member["reason"] == "请让我进来"
    await alice.invite(room_id, bob)
    await bob.join(room_id)
    await bob.say(room_id, "谢谢")
    await settle(one, two)
    page = await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["content"]["body"] == "谢谢"


async def test_restricted_room_lets_members_of_the_other_room_in(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    club = await alice.create_room(preset="public_chat")
    room_id = await alice.create_room(preset="private_chat")
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
    await alice.set_state(room_id, "m.room.join_rules", rule)
    refused = await bob.request("POST", f"/join/{room_id}", {}, via="one.test")
    assert refused.status == 403
    await bob.post(f"/join/{club}", {}, via="one.test")
    await settle(one, two)
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await bob.say(room_id, "inside")
    await settle(one, two)
    page = await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["content"]["body"] == "inside"


async def test_alias_profile_and_directory_of_the_other_server_are_found(
    one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat", room_alias_name="shop", visibility="public", name="商店")
    await alice.put(f"/profile/{alice.user_id}/displayname", {"displayname": "爱丽丝"})
    assert await bob.get("/directory/room/%23shop%3Aone.test") == {"room_id": room_id, "servers": ["one.test"]}
    assert (await bob.get(f"/profile/{alice.user_id}"))["displayname"] == "爱丽丝"
    listed = await bob.post("/publicRooms", {"filter": {"generic_search_term": "商店"}}, server="one.test")
    assert [room["room_id"] for room in listed["chunk"]] == [room_id]
    await bob.post("/join/%23shop%3Aone.test", {})
    assert room_id in (await bob.get("/joined_rooms"))["joined_rooms"]


async def test_space_and_time_of_the_other_server_are_told(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await two.register("bob")
    space = await alice.create_room(preset="public_chat", creation_content={"type": "m.space"}, name="空间")
    open_room = await alice.create_room(preset="public_chat", name="大厅")
    closed_room = await alice.create_room(preset="private_chat")
    for child in (open_room, closed_room):
        await alice.set_state(space, "m.space.child", {"via": ["one.test"]}, child)
    told = await two.federation.client.get("one.test", f"/_matrix/federation/v1/hierarchy/{quote(space, safe='')}")
    assert told["room"]["name"] == "空间"
    assert [room["room_id"] for room in told["children"]] == [open_room]
    assert told["inaccessible_children"] == [closed_room]
    said = await alice.say(open_room, "now")
    path = f"/_matrix/federation/v1/timestamp_to_event/{quote(open_room, safe='')}"
    await bob.post(f"/join/{open_room}", {}, via="one.test")
    found = await two.federation.client.get("one.test", path, {"ts": one.clock.now_ms() + 1, "dir": "b"})
    assert found["event_id"]
    assert said


async def test_a_room_that_nobody_can_be_asked_about_is_as_one_that_lets_nobody_in(one: FederatedServer) -> None:
    alice, bob = await one.register("alice"), await one.register("bob")
    closed = await alice.create_room(preset="private_chat")
    for action in ("join", "knock"):
        answers = [await bob.request("POST", f"/{action}/{room}", {}) for room in (closed, "!unknown:one.test")]
        assert [(one.status, one.json["errcode"]) for one in answers] == [(403, "M_FORBIDDEN")] * 2
