"""Somebody was invited by an address, and has an account on another server."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from signedjson.key import generate_signing_key
from unpaddedbase64 import encode_base64

from federation.client import RemoteRefused
from homeserver.protocol.signatures import sign
from tests.support.federation import FederatedServer, settle
from tests.support.server import User

KEY = generate_signing_key("0")
TOKEN = "a.token"


async def invited_by_address(one: FederatedServer) -> tuple[User, str]:
    alice = await one.register("alice")
    room_id = await alice.create_room(preset="private_chat")
    key = encode_base64(KEY.verify_key.encode())
    await alice.put(
        f"/rooms/{room_id}/state/m.room.third_party_invite/{TOKEN}",
        {"display_name": "b...", "public_key": key, "key_validity_url": "", "public_keys": [{"public_key": key}]},
    )
    return alice, room_id


def proof(user_id: str, key: Any = KEY) -> dict[str, Any]:
    return sign({"mxid": user_id, "token": TOKEN}, "id.test", key)


async def on_bind(server: FederatedServer, body: Any) -> int:
    reply = await server.federation_application.respond(
        "PUT",
        "/_matrix/federation/v1/3pid/onbind",
        {"content-type": "application/json"},
        msgspec.json.encode(body),
        "192.0.2.1",
    )
    return reply.status


def told(room_id: str, sender: str, user_id: str, signed: dict[str, Any]) -> dict[str, Any]:
    known = {"medium": "email", "address": "bob@example.org", "mxid": user_id}
    return {**known, "invites": [{**known, "room_id": room_id, "sender": sender, "signed": signed}]}


async def test_address_of_somebody_elsewhere_becomes_an_invite(one: FederatedServer, two: FederatedServer) -> None:
    alice, room_id = await invited_by_address(one)
    bob = await two.register("bob")
    body = told(room_id, alice.user_id, bob.user_id, proof(bob.user_id))
    assert await on_bind(two, body) == 200
    await settle(one, two)
    assert room_id in (await bob.sync())["rooms"]["invite"]
    await bob.join(room_id)
    await settle(one, two)
    assert sorted((await alice.get(f"/rooms/{room_id}/joined_members"))["joined"]) == [alice.user_id, bob.user_id]


async def test_proof_of_a_stranger_brings_nobody_in(one: FederatedServer, two: FederatedServer) -> None:
    alice, room_id = await invited_by_address(one)
    bob = await two.register("bob")
    forged = proof(bob.user_id, generate_signing_key("0"))
    assert await on_bind(two, told(room_id, alice.user_id, bob.user_id, forged)) == 200
    await settle(one, two)
    assert "rooms" not in await bob.sync() or room_id not in (await bob.sync())["rooms"].get("invite", {})
    room = await one.homeserver.rooms.live.get(room_id)
    assert room.membership(bob.user_id) != "invite"


@pytest.mark.parametrize("who", ["@nobody:two.test", "@alice:one.test"])
async def test_on_bind_is_for_users_of_this_server(two: FederatedServer, who: str) -> None:
    assert await on_bind(two, {"medium": "email", "address": "a@b.c", "mxid": who, "invites": []}) == 404


async def test_servers_exchange_invites_of_their_own_users_alone(one: FederatedServer, two: FederatedServer) -> None:
    alice, room_id = await invited_by_address(one)

    async def exchange(user_id: str, signed: dict[str, Any]) -> int:
        event = {
            "type": "m.room.member",
            "room_id": room_id,
            "sender": alice.user_id,
            "state_key": user_id,
            "content": {"membership": "invite", "third_party_invite": {"display_name": "", "signed": signed}},
        }
        path = f"/_matrix/federation/v1/exchange_third_party_invite/{room_id}"
        with pytest.raises(RemoteRefused) as refused:
            await two.federation.client.request("one.test", "PUT", path, body=event)
        return refused.value.status

    assert await exchange("@bob:three.test", proof("@bob:three.test")) == 403
    assert await exchange("@bob:two.test", {**proof("@bob:two.test"), "token": "another"}) == 403
