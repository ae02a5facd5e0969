"""Inviting people by their e-mail addresses, with an identity server that signs as real ones do."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from signedjson.key import generate_signing_key, get_verify_key
from signedjson.types import SigningKey
from unpaddedbase64 import encode_base64

from homeserver.outbound.client import OutboundAnswer
from homeserver.protocol.signatures import sign
from homeserver.storage.database import Transaction
from homeserver.storage.threepids import Threepid, ThreepidStore
from tests.support.outbound import FakeOutbound, SentRequest, json_answer
from tests.support.server import Server, User, open_server, server_settings

EMAIL = "bob@example.org"
BY_EMAIL = {"medium": "email", "address": EMAIL, "id_server": "id.example.org", "id_access_token": "idt"}
BASE = "https://id.example.org/_matrix/identity/v2"
PEPPER = "matrixrocks"


@dataclass
class IdentityServer:
    """Knows who has which address (`bound`), and keeps invites of those whom it does not know."""

    bound: dict[str, str] = field(default_factory=dict)
    invites: list[dict[str, Any]] = field(default_factory=list)
    algorithms: list[str] = field(default_factory=lambda: ["none", "sha256"])
    key: SigningKey = field(default_factory=lambda: generate_signing_key("0"))
    key_is_valid: bool = True
    token: str = "a.token"

    @property
    def public_key(self) -> str:
        return encode_base64(get_verify_key(self.key).encode())

    def answer(self, request: SentRequest) -> OutboundAnswer:
        parts = urlsplit(request.url)
        name = request.url.removeprefix(f"{BASE}/").partition("?")[0]
        if name == "pubkey/isvalid":
            asked = parse_qs(parts.query)["public_key"]
            return json_answer({"valid": self.key_is_valid and asked == [self.public_key]})
        if request.headers["Authorization"] != "Bearer idt":
            return json_answer({"errcode": "M_UNAUTHORIZED", "error": "Who?"}, 401)
        if name == "hash_details":
            return json_answer({"lookup_pepper": PEPPER, "algorithms": self.algorithms})
        if name == "lookup":
            assert request.json["pepper"] == PEPPER
            hashes = {self.hash(request.json["algorithm"], address): user for address, user in self.bound.items()}
            return json_answer(
                {"mappings": {each: hashes[each] for each in request.json["addresses"] if each in hashes}}
            )
        assert name == "store-invite", name
        self.invites.append(request.json)
        keys = [{"public_key": self.public_key, "key_validity_url": f"{BASE}/pubkey/isvalid"}]
        return json_answer({"token": self.token, "display_name": "b...@e...", "public_keys": keys})

    def hash(self, algorithm: str, address: str) -> str:
        """As the specification writes it: `address medium pepper`."""
        if algorithm == "none":
            return f"{address} email"
        digest = hashlib.sha256(f"{address} email {PEPPER}".encode()).digest()
        return encode_base64(digest, urlsafe=True)

    def signed(self, mxid: str, sender: str, **changes: Any) -> dict[str, Any]:
        """What shows that `mxid` has the address of the invite."""
        return sign({"mxid": mxid, "sender": sender, "token": self.token, **changes}, "id.example.org", self.key)


@dataclass
class Scene:
    """Alice has a room; Bob has an account without an address."""

    server: Server
    identity: IdentityServer
    outside: FakeOutbound
    alice: User
    bob: User
    room_id: str

    async def invite(self, user: User | None = None, **changes: Any) -> Any:
        return await (user or self.alice).request("POST", f"/rooms/{self.room_id}/invite", {**BY_EMAIL, **changes})

    async def membership(self, user: User) -> Any:
        state = await self.alice.get(f"/rooms/{self.room_id}/state")
        return {each["state_key"]: each["content"] for each in state if each["type"] == "m.room.member"}.get(
            user.user_id
        )

    async def give_address(self, user: User, address: str = EMAIL) -> None:
        store = ThreepidStore(self.server.homeserver.db)

        async def give(txn: Transaction) -> None:
            await store.add_threepid(txn, Threepid("email", address, user.user_id, 1, 1))

        await self.server.homeserver.db.write(give)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    identity = IdentityServer()
    outside = FakeOutbound(identity.answer)
    server = open_server(outbound=outside)
    alice, bob = await server.register("alice"), await server.register("bob")
    room_id = await alice.create_room(name="Garden", preset="private_chat")
    yield Scene(server, identity, outside, alice, bob, room_id)
    await server.homeserver.close()


async def test_the_address_of_an_account_here_invites_it_and_nobody_else_is_asked(scene: Scene) -> None:
    await scene.give_address(scene.bob)
    assert (await scene.invite(address="Bob@Example.org", id_server=None, id_access_token=None)).status == 200
    assert (await scene.membership(scene.bob))["membership"] == "invite"
    assert scene.outside.requests == []


@pytest.mark.parametrize("algorithms", [["none", "sha256"], ["none"]])
async def test_a_user_id_that_the_identity_server_knows_is_invited(scene: Scene, algorithms: list[str]) -> None:
    scene.identity.bound[EMAIL] = scene.bob.user_id
    scene.identity.algorithms = algorithms
    assert (await scene.invite(reason="Come")).status == 200
    content = await scene.membership(scene.bob)
    assert (content["membership"], content["reason"]) == ("invite", "Come")
    assert scene.identity.invites == []
    sent_in_clear = any(EMAIL.encode() in (request.body or b"") for request in scene.outside.requests)
    assert sent_in_clear is ("sha256" not in algorithms)


async def test_somebody_unknown_is_written_to_and_comes_in_with_a_signature(scene: Scene) -> None:
    assert (await scene.invite()).status == 200
    (stored,) = scene.identity.invites
    assert stored == {
        "medium": "email",
        "address": EMAIL,
        "room_id": scene.room_id,
        "sender": scene.alice.user_id,
        "room_name": "Garden",
        "room_join_rules": "invite",
    }
    event = await scene.alice.get(f"/rooms/{scene.room_id}/state/m.room.third_party_invite/a.token")
    assert event["display_name"] == "b...@e..."
    assert event["public_keys"][0]["public_key"] == scene.identity.public_key == event["public_key"]
    assert EMAIL not in repr(await scene.alice.get(f"/rooms/{scene.room_id}/state"))
    signed = scene.identity.signed(scene.bob.user_id, scene.alice.user_id)
    joined = await scene.bob.request("POST", f"/rooms/{scene.room_id}/join", {"third_party_signed": signed})
    assert joined.status == 200, joined.body
    assert (await scene.membership(scene.bob))["membership"] == "join"
    invite = next(
        each["unsigned"]["prev_content"]
        for each in await scene.alice.get(f"/rooms/{scene.room_id}/state")
        if each.get("state_key") == scene.bob.user_id
    )
    assert invite["third_party_invite"]["signed"] == signed


async def test_a_proof_for_somebody_else_or_by_somebody_else_lets_nobody_in(scene: Scene) -> None:
    await scene.invite()
    bob, alice = scene.bob.user_id, scene.alice.user_id
    good = scene.identity.signed(bob, alice)
    forger = IdentityServer()
    for signed, errcode in (
        (scene.identity.signed(alice, alice), "M_BAD_JSON"),
        (forger.signed(bob, alice), "M_FORBIDDEN"),
        ({**good, "token": "another"}, "M_FORBIDDEN"),
        ({**good, "sender": "@mallory:evil.test"}, "M_FORBIDDEN"),
        ({**good, "signatures": {}}, "M_FORBIDDEN"),
        ({"mxid": bob}, "M_BAD_JSON"),
    ):
        for path in (f"/rooms/{scene.room_id}/join", f"/join/{scene.room_id}"):
            answer = await scene.bob.request("POST", path, {"third_party_signed": signed})
            assert answer.json["errcode"] == errcode
    assert await scene.membership(scene.bob) is None


async def test_a_revoked_key_lets_nobody_in(scene: Scene) -> None:
    await scene.invite()
    scene.identity.key_is_valid = False
    signed = scene.identity.signed(scene.bob.user_id, scene.alice.user_id)
    answer = await scene.bob.request("POST", f"/rooms/{scene.room_id}/join", {"third_party_signed": signed})
    assert answer.json["errcode"] == "M_FORBIDDEN"
    await scene.alice.set_state(scene.room_id, "m.room.third_party_invite", {}, "a.token")  # taken back
    scene.identity.key_is_valid = True
    answer = await scene.bob.request("POST", f"/rooms/{scene.room_id}/join", {"third_party_signed": signed})
    assert answer.json["errcode"] == "M_FORBIDDEN"


async def test_who_may_not_invite_makes_nobody_write_an_e_mail(scene: Scene) -> None:
    answer = await scene.invite(scene.bob)
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    await scene.alice.invite(scene.room_id, scene.bob)
    await scene.bob.join(scene.room_id)
    levels = await scene.alice.get(f"/rooms/{scene.room_id}/state/m.room.power_levels/")
    await scene.alice.set_state(scene.room_id, "m.room.power_levels", {**levels, "invite": 50})
    assert (await scene.invite(scene.bob)).json["errcode"] == "M_FORBIDDEN"
    assert scene.outside.requests == []


async def test_bad_invites_are_refused(scene: Scene) -> None:
    for changes, errcode in (
        ({"address": "nobody"}, "M_INVALID_PARAM"),
        ({"medium": "pigeon"}, "M_INVALID_PARAM"),
        ({"id_server": None}, "M_MISSING_PARAM"),
        ({"id_access_token": None}, "M_MISSING_PARAM"),
        ({"id_server": "http://localhost/"}, "M_INVALID_PARAM"),
        ({"address": None}, "M_INVALID_PARAM"),
        ({"id_access_token": "wrong"}, "M_UNAUTHORIZED"),
    ):
        assert (await scene.invite(**changes)).json["errcode"] == errcode, changes
    scene.identity.token = "x" * 300
    assert (await scene.invite()).json["errcode"] == "M_CONNECTION_FAILED"
    scene.identity.bound[EMAIL] = "no user id"
    assert (await scene.invite()).json["errcode"] == "M_CONNECTION_FAILED"


async def test_a_new_room_invites_by_address_too(scene: Scene) -> None:
    await scene.give_address(scene.bob, "bob@here.test")
    third_parties = [BY_EMAIL, {**BY_EMAIL, "address": "bob@here.test"}]
    scene.room_id = await scene.alice.create_room(invite_3pid=third_parties, is_direct=True)
    content = await scene.membership(scene.bob)
    assert (content["membership"], content["is_direct"]) == ("invite", True)
    assert len(scene.identity.invites) == 1
    rooms = (await scene.alice.get("/joined_rooms"))["joined_rooms"]
    bad = await scene.alice.request("POST", "/createRoom", {"invite_3pid": [{**BY_EMAIL, "address": "x"}]})
    assert bad.json["errcode"] == "M_INVALID_PARAM"
    many = await scene.alice.request("POST", "/createRoom", {"invite_3pid": [BY_EMAIL] * 101})
    assert many.json["errcode"] == "M_INVALID_PARAM"
    assert (await scene.alice.get("/joined_rooms"))["joined_rooms"] == rooms


async def test_an_operator_may_want_nobody_to_learn_whose_an_address_is() -> None:
    settings = server_settings()
    hiding = replace(settings, rooms=replace(settings.rooms, invites_by_address=False))
    identity = IdentityServer()
    outside = FakeOutbound(identity.answer)
    server = open_server(settings=hiding, outbound=outside)
    alice, bob = await server.register("alice"), await server.register("bob")
    scene = Scene(server, identity, outside, alice, bob, await alice.create_room())
    await scene.give_address(bob)
    refused = await scene.invite(id_server=None, id_access_token=None)
    assert refused.json["errcode"] == "M_MISSING_PARAM"
    assert (await scene.invite()).status == 200
    assert await scene.membership(bob) is None
    assert len(identity.invites) == 1
    await server.homeserver.close()
