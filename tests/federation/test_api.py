"""Each operation as a server of the room, a stranger and somebody who does not sign meet it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest

from federation.client import RemoteRefused
from tests.support.federation import FederatedServer, Network, open_federated, settle

V1 = "/_matrix/federation/v1"


@dataclass
class Scene:
    """A room of one and two with a message; three is not in it."""

    one: FederatedServer
    two: FederatedServer
    three: FederatedServer
    room_id: str
    event_id: str

    def path(self, template: str) -> str:
        return V1 + template.format(room=quote(self.room_id, safe=""), event=quote(self.event_id, safe=""))


@pytest.fixture
async def scene(network: Network) -> Scene:
    one, two, three = [await open_federated(network, f"{name}.test") for name in ("one", "two", "three")]
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    event_id = await alice.say(room_id, "hello")
    await settle(one, two)
    return Scene(one, two, three, room_id, event_id)


async def ask(server: FederatedServer, path: str, **query: Any) -> tuple[int, Any]:
    """`server` asks one.test, signed."""
    try:
        return 200, await server.federation.client.get("one.test", path, query)
    except RemoteRefused as refusal:
        return refusal.status, refusal.remote_body


async def unsigned(server: FederatedServer, path: str, **query: Any) -> tuple[int, Any]:
    target = f"{path}?{urlencode(query)}" if query else path
    reply = await server.federation_application.respond("GET", target, {}, b"", "192.0.2.1")
    assert isinstance(reply.body, bytes)
    return reply.status, msgspec.json.decode(reply.body)


async def test_servers_of_the_room_alone_read_its_events_and_states(scene: Scene) -> None:
    event = {"event_id": scene.event_id}
    for template, query in (
        ("/event/{event}", {}),
        ("/state/{room}", event),
        ("/state_ids/{room}", event),
        ("/event_auth/{room}/{event}", {}),
        ("/timestamp_to_event/{room}", {"ts": 0, "dir": "f"}),
        ("/backfill/{room}", {"v": scene.event_id, "limit": 5}),
    ):
        path = scene.path(template)
        assert (await ask(scene.two, path, **query))[0] == 200, template
        status, body = await ask(scene.three, path, **query)
        assert (status, body["errcode"]) == (403, "M_FORBIDDEN"), template
        status, body = await unsigned(scene.one, path, **query)
        assert (status, body["errcode"]) == (401, "M_UNAUTHORIZED"), template


async def test_event_comes_as_it_was_signed(scene: Scene) -> None:
    _, body = await ask(scene.two, scene.path("/event/{event}"))
    (pdu,) = body["pdus"]
    assert (body["origin"], pdu["content"]["body"], list(pdu["signatures"])) == ("one.test", "hello", ["one.test"])
    status, body = await ask(scene.two, f"{V1}/event/{quote('$unknown', safe='')}")
    assert (status, body["errcode"]) == (404, "M_NOT_FOUND")


async def test_state_before_an_event_is_the_same_as_ids_and_whole(scene: Scene) -> None:
    _, ids = await ask(scene.two, scene.path("/state_ids/{room}"), event_id=scene.event_id)
    _, whole = await ask(scene.two, scene.path("/state/{room}"), event_id=scene.event_id)
    assert len(ids["pdu_ids"]) == len(whole["pdus"])
    assert len(ids["auth_chain_ids"]) == len(whole["auth_chain"])
    kinds = {pdu["type"] for pdu in whole["pdus"]}
    assert {"m.room.create", "m.room.member", "m.room.power_levels"} <= kinds
    _, chain = await ask(scene.two, scene.path("/event_auth/{room}/{event}"))
    assert {"m.room.power_levels", "m.room.member"} <= {pdu["type"] for pdu in chain["auth_chain"]}


async def test_public_rooms_are_told_to_every_server_that_signs(scene: Scene) -> None:
    alice = await scene.one.register("ann")
    listed = await alice.create_room(preset="public_chat", visibility="public")
    status, body = await ask(scene.three, f"{V1}/publicRooms", limit=10)
    assert (status, [room["room_id"] for room in body["chunk"]]) == (200, [listed])
    body = await scene.three.federation.client.request("one.test", "POST", f"{V1}/publicRooms", body={"limit": 10})
    assert [room["room_id"] for room in body["chunk"]] == [listed]
    assert (await unsigned(scene.one, f"{V1}/publicRooms"))[0] == 401


async def test_version_is_told_to_anybody(one: FederatedServer) -> None:
    status, body = await unsigned(one, f"{V1}/version")
    assert (status, body["server"]["name"]) == (200, "Halfdoor")


async def test_openid_token_shows_whose_it_is_and_nothing_else_does(one: FederatedServer) -> None:
    alice = await one.register("alice")
    given = await alice.post(f"/user/{alice.user_id}/openid/request_token", {})
    status, body = await unsigned(one, f"{V1}/openid/userinfo", access_token=given["access_token"])
    assert (status, body) == (200, {"sub": alice.user_id})
    for token in ("wrong", alice.token):
        status, body = await unsigned(one, f"{V1}/openid/userinfo", access_token=token)
        assert (status, body["errcode"]) == (401, "M_UNKNOWN_TOKEN")


async def test_devices_and_keys_are_of_our_own_users_and_for_servers_that_sign(scene: Scene) -> None:
    path = f"{V1}/user/devices/{quote('@alice:one.test', safe='')}"
    status, body = await ask(scene.two, path)
    assert (status, body["user_id"], isinstance(body["stream_id"], int)) == (200, "@alice:one.test", True)
    assert (await ask(scene.two, f"{V1}/user/devices/{quote('@bob:two.test', safe='')}"))[0] == 404
    assert (await unsigned(scene.one, path))[0] == 401


async def test_hierarchy_needs_a_signature_and_tells_strangers_of_public_rooms_alone(scene: Scene) -> None:
    alice = await scene.one.register("ann")
    closed = await alice.create_room(preset="private_chat")
    assert (await ask(scene.three, scene.path("/hierarchy/{room}")))[0] == 200
    assert (await ask(scene.three, f"{V1}/hierarchy/{quote(closed, safe='')}"))[0] == 404
    assert (await unsigned(scene.one, scene.path("/hierarchy/{room}")))[0] == 401


async def test_media_needs_a_signature(one: FederatedServer) -> None:
    for place in ("download", "thumbnail"):
        status, body = await unsigned(one, f"{V1}/media/{place}/abc", width=32, height=32)
        assert (status, body["errcode"]) == (401, "M_UNAUTHORIZED")


async def test_one_time_key_is_claimed_once_and_by_servers_that_sign(scene: Scene) -> None:
    alice = await scene.one.register("ann")
    key = {"key": "a" * 43, "signatures": {alice.user_id: {f"ed25519:{alice.device_id}": "b" * 86}}}
    await alice.post("/keys/upload", {"one_time_keys": {"signed_curve25519:AAAA": key}})
    wanted = {"one_time_keys": {alice.user_id: {alice.device_id: "signed_curve25519"}}}
    path = f"{V1}/user/keys/claim"
    claimed = await scene.two.federation.client.request("one.test", "POST", path, body=wanted)
    assert list(claimed["one_time_keys"][alice.user_id][alice.device_id]) == ["signed_curve25519:AAAA"]
    again = await scene.three.federation.client.request("one.test", "POST", path, body=wanted)
    assert "signed_curve25519:AAAA" not in str(again)
    headers = {"content-type": "application/json"}
    reply = await scene.one.federation_application.respond(
        "POST", path, headers, msgspec.json.encode(wanted), "192.0.2.1"
    )
    assert reply.status == 401
