"""Policy servers are asked over federation, and what they refuse is passed on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from federation.client import RemoteRefused, RemoteUnreachable
from federation.policy_servers import PATH, FederatedPolicyServers
from homeserver.http.errors import status_of
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.events import Event
from homeserver.protocol.room_versions import DEFAULT_ROOM_VERSION, ROOM_VERSIONS
from homeserver.protocol.signatures import sign_event
from tests.rooms.test_policy_servers import CONTENT, KEY, POLICY, FakePolicyServer
from tests.support.federation import FederatedServer, Network, settle
from tests.support.server import User

EVENT = Event(
    {
        "type": "m.room.message",
        "sender": "@alice:halfdoor.test",
        "room_id": "!room:halfdoor.test",
        "content": {"body": "hello"},
        "depth": 5,
        "origin_server_ts": 1,
        "prev_events": [],
        "auth_events": [],
        "hashes": {"sha256": "x"},
        "signatures": {"halfdoor.test": {"ed25519:a": "x"}},
    },
    ROOM_VERSIONS["11"],
    "$event",
)


class FakeClient:
    """Answers every request alike."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, str, Any]] = []

    async def request(self, destination: str, method: str, path: str, *, body: Any, **options: Any) -> Any:
        self.asked.append((destination, method, path, body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def ask(answer: Any) -> Any:
    return await FederatedPolicyServers(FakeClient(answer)).ask("policy.test", EVENT)  # type: ignore[arg-type]


async def test_whole_event_is_sent_and_the_signatures_come_back() -> None:
    given = {"policy.test": {"ed25519:policy_server": "signature"}}
    client = FakeClient(given)
    assert await FederatedPolicyServers(client).ask("policy.test", EVENT) == given  # type: ignore[arg-type]
    assert client.asked == [("policy.test", "POST", PATH, EVENT.pdu)]


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (
            RemoteRefused("policy.test", 400, {"errcode": "M_FORBIDDEN", "error": "Spam"}),
            403,
            {"errcode": "M_FORBIDDEN", "error": "Spam"},
        ),
        (
            RemoteRefused("policy.test", 404, {"errcode": "M_NOT_FOUND", "error": "No such room", "more": 1}),
            403,
            {"errcode": "M_NOT_FOUND", "error": "No such room"},
        ),
        (
            RemoteRefused("policy.test", 401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Log out", "soft_logout": True}),
            403,
            {"errcode": "M_FORBIDDEN", "error": "Log out"},
        ),
        (
            RemoteRefused("policy.test", 429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 700}),
            429,
            {
                "errcode": "M_LIMIT_EXCEEDED",
                "error": "The policy server of this room has much to do",
                "retry_after_ms": 700,
            },
        ),
        (
            RemoteUnreachable("policy.test was not reached"),
            403,
            {"errcode": "M_FORBIDDEN", "error": "The policy server of this room does not answer, so nothing is sent"},
        ),
    ],
)
async def test_B17_refusals_are_passed_on_and_say_nothing_of_the_session(
    answer: Exception, status: int, body: dict[str, Any]
) -> None:
    with pytest.raises(MatrixError) as raised:
        await ask(answer)
    assert (status_of(raised.value), raised.value.body()) == (status, body)


@pytest.mark.parametrize("answer", [[], "x", None, 7, {"policy.test": "signature"}])
async def test_answers_of_another_form_are_no_signatures(answer: Any) -> None:
    assert await ask(answer) == {}


async def guarded_room(
    one: FederatedServer, two: FederatedServer
) -> tuple[User, User, str, tuple[FakePolicyServer, FakePolicyServer]]:
    """A room of two servers with a policy server, of which a user is there as far as both know."""
    alice, bob = await one.register("alice"), await two.register("bob")
    room_id = await alice.create_room(preset="public_chat")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await settle(one, two)
    asked = FakePolicyServer(), FakePolicyServer()
    for server, policy in zip((one, two), asked, strict=True):
        server.homeserver.rooms.pipeline.policy_servers = policy
        (await server.homeserver.rooms.live.get(room_id)).set_member(f"@bot:{POLICY}", "join")
    await alice.set_state(room_id, "m.room.policy", CONTENT)
    await settle(one, two)
    return alice, bob, room_id, asked


async def bodies(user: User, room_id: str) -> list[str]:
    chunk = (await user.get(f"/rooms/{room_id}/messages", dir="b", limit=50))["chunk"]
    return [event["content"]["body"] for event in reversed(chunk) if event["type"] == "m.room.message"]


async def test_event_that_was_recommended_is_taken_without_asking_again(
    one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob, room_id, (asked_by_one, asked_by_two) = await guarded_room(one, two)
    await alice.say(room_id, "hello")
    await settle(one, two)
    assert await bodies(bob, room_id) == ["hello"]
    assert (len(asked_by_one.asked), len(asked_by_two.asked)) == (1, 0)


async def test_event_without_recommendation_is_asked_for_and_soft_failed_when_it_is_refused(
    one: FederatedServer, two: FederatedServer
) -> None:
    alice, bob, room_id, (_, asked_by_two) = await guarded_room(one, two)
    (await one.homeserver.rooms.live.get(room_id)).set_member(f"@bot:{POLICY}", "leave")  # one asks nobody any more
    for body in ("fine", "spam", "fine again"):
        await alice.say(room_id, body)
        await settle(one, two)
    assert await bodies(alice, room_id) == ["fine", "spam", "fine again"]
    assert await bodies(bob, room_id) == ["fine", "fine again"]
    assert [event.content["body"] for event in asked_by_two.asked] == ["fine", "spam", "fine again"]


@dataclass
class Reply:
    """What a scripted server answers."""

    status: int
    body: bytes
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class ScriptedPolicyServer:
    """A server on the network that signs what does not say "spam"."""

    asked: list[str] = field(default_factory=list)

    @property
    def federation_application(self) -> ScriptedPolicyServer:
        return self

    async def respond(self, method: str, target: str, headers: Any, body: bytes, peer: str) -> Reply:
        if target != PATH:
            return Reply(200, b'{"pdus": {}}')
        pdu = msgspec.json.decode(body)
        assert headers["authorization"].startswith('X-Matrix origin="one.test",destination="policy.test"')
        self.asked.append(pdu["type"])
        if pdu["content"].get("body") == "spam":
            return Reply(400, b'{"errcode": "M_FORBIDDEN", "error": "This is spam"}')
        signed = sign_event(pdu, ROOM_VERSIONS[DEFAULT_ROOM_VERSION], POLICY, KEY)
        return Reply(200, msgspec.json.encode({POLICY: signed["signatures"][POLICY]}))

    async def close(self) -> None:
        """Nothing is open."""


async def test_policy_server_on_the_network_is_asked_by_the_room_of_another(
    network: Network, one: FederatedServer
) -> None:
    policy = ScriptedPolicyServer()
    network.servers[POLICY] = policy  # type: ignore[assignment]
    alice = await one.register("alice")
    room_id = await alice.create_room(preset="public_chat")
    (await one.homeserver.rooms.live.get(room_id)).set_member(f"@bot:{POLICY}", "join")
    await alice.set_state(room_id, "m.room.policy", CONTENT)
    await alice.say(room_id, "hello")
    answer = await alice.request("PUT", f"/rooms/{room_id}/send/m.room.message/t", {"body": "spam"})
    assert (answer.status, answer.json) == (403, {"errcode": "M_FORBIDDEN", "error": "This is spam"})
    assert await bodies(alice, room_id) == ["hello"]
    assert policy.asked == ["m.room.message", "m.room.message"]
