"""Requests as servers make them: signed, about rooms that both are in, with events that are signed too."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import urlencode

import msgspec

from federation.request_signing import sign_request
from homeserver.protocol.events import Event
from tests.end_to_end.fuzz import nasty
from tests.end_to_end.fuzz.federation_world import FederationWorld
from tests.end_to_end.fuzz.operations import Operation
from tests.end_to_end.fuzz.run import Report, answer_of, judge, path_of
from tests.end_to_end.fuzz.values import Values
from tests.end_to_end.fuzz.world import World
from tests.federation.lies import Scene
from tests.federation.malformed import malformed
from tests.federation.malformed_edus import malformed_edu
from tests.support.http import Answer
from tests.support.liar import Liar

SEND_AGAIN = b"cannot be had just now"
"""Of a transaction whose sender, asked what its events stand on, was not there."""
DANCES = {
    "sendJoinV2": "join",
    "sendLeaveV2": "leave",
    "sendKnock": "knock",
    "sendInviteV1": "invite",
    "sendInviteV2": "invite",
}


async def ask_as_server(world: World, operation: Operation, values: Values, report: Report) -> None:
    """One request, mostly of the server that is in the rooms."""
    assert isinstance(world, FederationWorld)
    chance = values.chance
    caller, scene = world.caller(chance), chance.choice(world.scenes)
    _speak_of(world, scene, values)
    known, made = _prepared(operation, world, scene, chance)
    last = made["pdus"][-1] if operation.name == "sendTransaction" else None
    path, specified, given = path_of(operation, values, known if chance.random() < 0.9 else None)
    query = values.query(operation)
    target = path + ("?" + urlencode(query, errors="surrogatepass") if query else "")
    body = b""
    if operation.bodies or made is not None:
        made = values.body(operation, given) if made is None or chance.random() < 0.05 else made
        if chance.random() < 0.3:
            made = nasty.spoil(made, chance)
        body = json.dumps(made, ensure_ascii=chance.random() < 0.3).encode("utf-8", "surrogatepass")
        if chance.random() < 0.05:
            body = nasty.raw(body, chance)
    header = _authorization(chance, operation.method, target, body, caller, world.one.name)
    said = f"{operation.method} {target} by {caller.name}\nbody {body[:3_000]!r}"
    answer = await answer_of(_request(world, operation.method, target, header, body), report, operation, said)
    if answer is None or (answer.status == 503 and SEND_AGAIN in answer.body):
        return
    content = judge(operation.method, specified, answer, report, operation, said, chance)
    if answer.status < 300 and content is not None:
        world.pool.learn(content)
        if operation.name == "sendTransaction":
            _stand_on(scene, last, content["pdus"])
        if operation.name in ("sendJoinV2", "sendLeaveV2", "sendKnock"):
            _note_member(scene, body)


def _stand_on(scene: Scene, last: Any, outcomes: dict[str, Any]) -> None:
    """What the liar says next stands on the message that was taken."""
    if last is not None:
        event = Event(last, scene.room.version)
        if outcomes.get(event.event_id) == {}:
            scene.room.last = event


def _note_member(scene: Scene, body: bytes) -> None:
    """What the liar says next stands on the membership that was taken, and is authorised by it."""
    event = Event(msgspec.json.decode(body), scene.room.version)
    scene.room.state[event.key] = scene.room.last = event


async def _request(world: FederationWorld, method: str, target: str, header: str | None, body: bytes) -> Answer:
    headers = {"content-type": "application/json"} | ({} if header is None else {"authorization": header})
    reply = await world.one.federation_application.respond(method, target, headers, body, "192.0.2.66")
    content = reply.body if isinstance(reply.body, bytes) else b""
    return Answer(reply.status, {name.lower(): value for name, value in reply.headers}, content)


def _authorization(
    chance: random.Random, method: str, target: str, body: bytes, caller: Liar, destination: str
) -> str | None:
    """The header, in nine of ten requests a true one."""
    try:
        content = msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        content = None
    deed = chance.random()
    if deed < 0.03:
        return None
    origin = chance.choice(("one.test", "gone.test", "x" * 300, "")) if deed < 0.05 else caller.name
    signed_for = chance.choice(("two.test", "")) if deed > 0.98 else destination
    try:
        header = sign_request(method, target, content, origin=origin, destination=signed_for, key=caller.key)
    except Exception:  # what cannot be written as canonical JSON can be signed by nobody
        header = sign_request(method, target, None, origin=origin, destination=signed_for, key=caller.key)
    return nasty.text(chance) if 0.05 < deed < 0.06 else header


def _speak_of(world: FederationWorld, scene: Scene, values: Values) -> None:
    """Room, events and users that belong together."""
    room = scene.room
    events = [event.event_id for event in room.state.values()][-20:]
    values.own = {
        "room": [scene.room_id],
        "event": [room.last.event_id, *events, *world.pool.every(f"event of {scene.room_id}")],
        "user": [world.liar.user, scene.alice.user_id],
        "alias": ["#fuzz1:one.test"],
    }


def _prepared(
    operation: Operation, world: FederationWorld, scene: Scene, chance: random.Random
) -> tuple[dict[str, str], Any]:
    """Parts of the path, and the body, that make sense for an operation."""
    liar, room = world.liar, scene.room
    known = {"room_id": scene.room_id, "user_id": f"@m{chance.randrange(8)}:{liar.name}"}
    membership = DANCES.get(operation.name)
    if membership is not None:
        user = known["user_id"]
        if membership == "invite":
            room = liar.make_room(chance.choice(("1", "6", "11")), f"!r{chance.randrange(50)}:liar.test")
            event = liar.event(room, "m.room.member", {"membership": "invite"}, state_key=scene.alice.user_id)
        else:
            content: dict[str, Any] = {"membership": membership}
            event = liar.event(room, "m.room.member", content, state_key=user, sender=user)
        known |= {"room_id": room.room_id, "event_id": event.event_id}
        stripped = [one.pdu for one in room.state.values()]
        invite = {"room_version": room.version.identifier, "event": event.pdu, "invite_room_state": stripped}
        return known, invite if operation.name == "sendInviteV2" else event.pdu
    if operation.name == "sendTransaction":
        pdus = [malformed(chance, scene) for _ in range(chance.choice((0, 1, 2, 5)))]
        pdus.append(liar.event(room).pdu)
        edus = [malformed_edu(chance, scene) for _ in range(chance.choice((0, 1, 3)))]
        return {"txn_id": f"t{chance.randrange(10**9)}"}, {
            "origin": liar.name, "origin_server_ts": 1, "pdus": pdus, "edus": edus
        }  # fmt: skip
    if operation.name == "getMissingPreviousEvents":
        first = [event.event_id for event in room.chain][:3]
        return known, {"earliest_events": first, "latest_events": [room.last.event_id], "limit": 10, "min_depth": 0}
    if operation.name == "exchangeThirdPartyInvite":
        signed = {"mxid": known["user_id"], "token": "t", "signatures": {"id.test": {"ed25519:0": "x"}}}
        proof = {"display_name": "x", "signed": signed}
        said: dict[str, Any] = {"membership": "invite", "third_party_invite": proof}
        return known, {
            "type": "m.room.member", "room_id": scene.room_id, "sender": scene.alice.user_id,
            "state_key": known["user_id"], "content": said,
        }  # fmt: skip
    if operation.name in ("queryUserEncryptionKeys", "claimUserEncryptionKeys"):
        user = scene.alice.user_id
        if operation.name == "queryUserEncryptionKeys":
            return {}, {"device_keys": {user: []}}
        return {}, {"one_time_keys": {user: {"DEVICE": "signed_curve25519"}}}
    if operation.name == "bulkPerspectivesKeyQuery":
        name = chance.choice(("one.test", liar.name, "gone.test"))
        return {}, {"server_keys": {name: {"ed25519:liar": {"minimum_valid_until_ts": 1}}}}
    if operation.name in ("makeJoin", "makeKnock", "makeLeave", "getEvent", "getEventAuth"):
        return known, None
    return {}, None
