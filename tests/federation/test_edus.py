"""What servers tell each other beside events."""

from __future__ import annotations

import pytest

from tests.support.federation import FederatedServer, Network, settle
from tests.support.server import User


async def together(one: FederatedServer, two: FederatedServer) -> tuple[User, User, str]:
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two)
    return alice, bob, room_id


async def test_typing_and_receipts_arrive(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob, room_id = await together(one, two)
    said = await alice.say(room_id, "你好")
    await settle(one, two)
    await bob.put(f"/rooms/{room_id}/typing/{bob.user_id}", {"typing": True, "timeout": 30_000})
    await bob.post(f"/rooms/{room_id}/receipt/m.read/{said}", {})
    await settle(one, two)
    events = (await alice.sync())["rooms"]["join"][room_id]["ephemeral"]["events"]
    by_type = {event["type"]: event["content"] for event in events}
    assert by_type["m.typing"] == {"user_ids": [bob.user_id]}
    assert bob.user_id in by_type["m.receipt"][said]["m.read"]
    await bob.put(f"/rooms/{room_id}/typing/{bob.user_id}", {"typing": False})
    await settle(one, two)
    assert one.homeserver.rooms.typing.who(room_id) == []


async def test_presence_arrives(one: FederatedServer, two: FederatedServer) -> None:
    alice, bob, _ = await together(one, two)
    await bob.put(f"/presence/{bob.user_id}/status", {"presence": "online", "status_msg": "在"})
    await settle(one, two)
    told = await alice.get(f"/presence/{bob.user_id}/status")
    assert told["presence"] == "online"
    assert told["status_msg"] == "在"


async def test_message_to_a_device_arrives_once_however_often_the_way_breaks(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob, _ = await together(one, two)
    network.lost = lambda origin, request: "/send/" in request.url
    body = {"messages": {bob.user_id: {bob.device_id: {"secret": "秘密"}}}}
    await alice.put("/sendToDevice/m.test/1", body)
    await settle(one, two)
    network.lost = lambda origin, request: False
    await one.clock.advance(3600)
    await settle(one, two)
    events = (await bob.sync())["to_device"]["events"]
    assert events == [{"sender": alice.user_id, "type": "m.test", "content": {"secret": "秘密"}}]


async def test_new_device_is_news_for_other_servers_and_its_keys_are_had(
    one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob, _ = await together(one, two)
    since = (await alice.sync())["next_batch"]
    keys = {
        "user_id": bob.user_id,
        "device_id": bob.device_id,
        "algorithms": ["m.megolm.v1.aes-sha2"],
        "keys": {f"ed25519:{bob.device_id}": "a" * 43},
        "signatures": {bob.user_id: {f"ed25519:{bob.device_id}": "b" * 86}},
    }
    await bob.post("/keys/upload", {"device_keys": keys})
    await settle(one, two)
    body = await alice.sync(since=since)
    assert bob.user_id in body["device_lists"]["changed"]
    answer = await alice.post("/keys/query", {"device_keys": {bob.user_id: []}})
    assert answer["device_keys"][bob.user_id][bob.device_id]["keys"] == keys["keys"]
    assert answer["failures"] == {}


@pytest.mark.parametrize(
    ("edu_type", "content"),
    [
        ("m.typing", {"room_id": "ROOM", "user_id": "@carol:three.test", "typing": True}),
        ("m.receipt", {"ROOM": {"m.read": {"@carol:three.test": {"event_ids": ["$x"], "data": {"ts": 1}}}}}),
        ("m.presence", {"push": [{"user_id": "@alice:one.test", "presence": "offline"}]}),
        (
            "m.direct_to_device",
            {"sender": "@alice:one.test", "type": "m.x", "message_id": "1", "messages": {"@alice:one.test": {"*": {}}}},
        ),
        ("m.device_list_update", {"user_id": "@alice:one.test", "device_id": "X", "stream_id": 1}),
        ("m.signing_key_update", {"user_id": "@alice:one.test"}),
    ],
)
async def test_B10_servers_speak_for_their_own_users_only(
    one: FederatedServer, two: FederatedServer, edu_type: str, content: object
) -> None:
    alice, _, room_id = await together(one, two)
    before = await alice.sync()
    said = {room_id: content["ROOM"]} if isinstance(content, dict) and "ROOM" in content else content
    if isinstance(said, dict) and said.get("room_id") == "ROOM":
        said = {**said, "room_id": room_id}
    path = "/_matrix/federation/v1/send/lies"
    body = {"origin": "two.test", "origin_server_ts": 1, "pdus": [], "edus": [{"edu_type": edu_type, "content": said}]}
    assert await two.federation.client.request("one.test", "PUT", path, body=body) == {"pdus": {}}
    after = await alice.sync(since=before["next_batch"])
    assert "to_device" not in after
    assert "device_lists" not in after
    assert "presence" not in after
    assert one.homeserver.rooms.typing.who(room_id) == []
