"""Rooms whose policy server must recommend each event before it is sent (v1.18)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from signedjson.key import decode_signing_key_base64, get_verify_key
from unpaddedbase64 import encode_base64

from homeserver.protocol.errors import Forbidden, LimitExceeded, MatrixError
from homeserver.protocol.events import Event
from homeserver.protocol.signatures import sign_event, verify_event
from tests.support.clock import settle
from tests.support.server import SERVER_NAME, Server, User, open_server, server_settings

POLICY = "policy.test"
KEY = decode_signing_key_base64("ed25519", "policy_server", "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
PUBLIC = encode_base64(get_verify_key(KEY).encode())
CONTENT = {"via": POLICY, "public_keys": {"ed25519": PUBLIC}}


@dataclass
class FakePolicyServer:
    """Implements `PolicyServers`: refuses what says "spam"."""

    asked: list[Event] = field(default_factory=list)
    refusal: MatrixError = field(default_factory=lambda: Forbidden("This is spam"))
    signs_wrongly: bool = False
    gate: asyncio.Event | None = None

    async def ask(self, server_name: str, event: Event) -> Mapping[str, Mapping[str, str]]:
        self.asked.append(event)
        if self.gate is not None:
            await self.gate.wait()
        if event.content.get("body") == "spam":
            raise self.refusal
        other = {**event.pdu, "type": "other"} if self.signs_wrongly else event.pdu
        signed: dict[str, Any] = sign_event(other, event.room_version, server_name, KEY)
        return {server_name: signed["signatures"][server_name]}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = open_server()
    yield running
    await running.close()


async def guarded_room(server: Server, alice: User, **content: Any) -> tuple[str, FakePolicyServer]:
    """A room with a policy server, of which somebody is there."""
    policy = FakePolicyServer()
    server.homeserver.rooms.pipeline.policy_servers = policy
    room_id = await alice.create_room(preset="public_chat")
    room = await server.homeserver.rooms.live.get(room_id)
    room.set_member(f"@bot:{POLICY}", "join")
    await alice.set_state(room_id, "m.room.policy", {**CONTENT, **content})
    return room_id, policy


async def test_recommended_events_carry_the_signature_and_refused_ones_are_not_sent(server: Server) -> None:
    alice = await server.register()
    room_id, policy = await guarded_room(server, alice)
    assert policy.asked == []  # not about the policy itself
    event_id = await alice.say(room_id, "hello")
    answer = await alice.request("PUT", f"/rooms/{room_id}/send/m.room.message/t", {"body": "spam"})
    assert (answer.status, answer.json) == (403, {"errcode": "M_FORBIDDEN", "error": "This is spam"})
    await alice.set_state(room_id, "m.room.topic", {"topic": "checked too"})
    assert [event.type for event in policy.asked] == ["m.room.message", "m.room.message", "m.room.topic"]
    room = await server.homeserver.rooms.live.get(room_id)
    (stored,) = await server.homeserver.rooms.events.find_events(room_id, room.version, [event_id])
    verify_event(stored.event.pdu, room.version, POLICY, get_verify_key(KEY))
    chunk = (await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=10))["chunk"]
    assert [event["type"] for event in chunk][:3] == ["m.room.topic", "m.room.message", "m.room.policy"]


async def test_refusal_reaches_the_client_as_it_is(server: Server) -> None:
    alice = await server.register()
    room_id, policy = await guarded_room(server, alice)
    policy.refusal = LimitExceeded("Slowly", retry_after_ms=1500)
    answer = await alice.request("PUT", f"/rooms/{room_id}/send/m.room.message/t", {"body": "spam"})
    assert (answer.status, answer.json["errcode"], answer.headers["retry-after"]) == (429, "M_LIMIT_EXCEEDED", "2")


async def test_wrong_signature_recommends_nothing(server: Server) -> None:
    alice = await server.register()
    room_id, policy = await guarded_room(server, alice)
    policy.signs_wrongly = True
    answer = await alice.request("PUT", f"/rooms/{room_id}/send/m.room.message/t", {"body": "x"})
    assert (answer.status, answer.json["errcode"]) == (403, "M_FORBIDDEN")
    policy.signs_wrongly = False
    await alice.say(room_id, "now")


async def test_events_of_a_room_are_recommended_one_after_the_other(server: Server) -> None:
    alice = await server.register()
    room_id, policy = await guarded_room(server, alice)
    policy.gate = asyncio.Event()
    bodies = ("one", "spam", "two")
    sent = [
        asyncio.ensure_future(alice.request("PUT", f"/rooms/{room_id}/send/m.room.message/{body}", {"body": body}))
        for body in bodies
    ]
    await settle()
    assert len(policy.asked) == 1
    policy.gate.set()
    assert [answer.status for answer in await asyncio.gather(*sent)] == [200, 403, 200]
    chunk = (await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=2))["chunk"]
    assert {event["content"]["body"] for event in chunk} == {"one", "two"}


@pytest.mark.parametrize(
    "content",
    [
        {"via": "elsewhere.test"},
        {"via": SERVER_NAME},
        {"via": 7},
        {"public_keys": {"ed448": PUBLIC}},
        {"public_keys": PUBLIC},
    ],
)
async def test_room_that_names_no_policy_server_that_is_there_uses_none(
    server: Server, content: dict[str, Any]
) -> None:
    alice = await server.register()
    room_id, policy = await guarded_room(server, alice, **content)
    await alice.say(room_id, "spam")
    assert policy.asked == []


async def test_policy_server_that_cannot_be_asked_can_be_switched_off(server: Server) -> None:
    alice = await server.register()
    room_id, _ = await guarded_room(server, alice)
    from homeserver.rooms.policy_servers import NoPolicyServers

    server.homeserver.rooms.pipeline.policy_servers = NoPolicyServers()
    assert (await alice.request("PUT", f"/rooms/{room_id}/send/m.room.message/t", {"body": "x"})).status == 403
    await alice.set_state(room_id, "m.room.policy", {})
    await alice.say(room_id, "free")


async def test_key_of_the_policy_server_of_this_name_is_published() -> None:
    path = "/.well-known/matrix/policy_server"
    server = open_server()
    assert (await server.request("GET", path)).status == 404
    await server.close()
    settings = server_settings()
    server = open_server(settings=replace(settings, facts=replace(settings.facts, policy_server_key=PUBLIC)))
    assert (await server.request("GET", path)).json == {"public_keys": {"ed25519": PUBLIC}}
    await server.close()
