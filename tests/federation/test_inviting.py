"""Invites in their older and newer form."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from federation.client import RemoteRefused
from homeserver.protocol.room_versions import ROOM_VERSIONS
from homeserver.protocol.signatures import sign_event
from tests.support.federation import FederatedServer, Network
from tests.support.liar import V1, V2, Asked, Liar

TOLD = [{"type": "m.room.name", "state_key": "", "sender": "@mallory:liar.test", "content": {"name": "旧店"}}]


@pytest.mark.parametrize("version", ["1", "2"])
async def test_invite_in_its_older_form_is_signed_and_shown(
    network: Network, one: FederatedServer, version: str
) -> None:
    liar, alice = Liar(network), await one.register("alice")
    room = liar.make_room(version)
    invite = liar.event(room, "m.room.member", {"membership": "invite"}, state_key=alice.user_id)
    target = f"{V1}/invite/{quote(room.room_id, safe='')}/{quote(invite.event_id, safe='')}"
    answer = await liar.request(one, "PUT", target, {**invite.pdu, "unsigned": {"invite_room_state": TOLD}})
    assert answer.status == 200
    code, body = answer.json
    assert code == 200
    assert set(body["event"]["signatures"]) == {"liar.test", "one.test"}
    assert {name: body["event"][name] for name in invite.pdu if name != "signatures"} == {
        name: invite.pdu[name] for name in invite.pdu if name != "signatures"
    }
    shown = (await alice.sync())["rooms"]["invite"][room.room_id]["invite_state"]["events"]
    assert {event["type"]: event["content"].get("name") for event in shown}["m.room.name"] == "旧店"


async def test_B01_older_form_signs_no_more_than_the_newer(network: Network, one: FederatedServer) -> None:
    liar, alice = Liar(network), await one.register("alice")
    room = liar.make_room("1")
    for content, who, kind in (
        ({"membership": "join"}, alice.user_id, "m.room.member"),
        ({"membership": "invite"}, "@x:liar.test", "m.room.member"),
        ({"membership": "invite"}, alice.user_id, "m.room.message"),
    ):
        lie = liar.event(room, kind, content, state_key=who)
        target = f"{V1}/invite/{quote(room.room_id, safe='')}/{quote(lie.event_id, safe='')}"
        answer = await liar.request(one, "PUT", target, lie.pdu)
        assert 400 <= answer.status < 500
        assert b"signatures" not in answer.body


async def test_older_form_of_an_invite_into_a_room_of_version_2_that_is_known(
    network: Network, one: FederatedServer
) -> None:
    liar, alice = Liar(network), await one.register("alice")
    bob = await one.register("bob")
    room_id = await bob.create_room(preset="public_chat", room_version="2")
    room = await liar.join(one, room_id)
    invite = liar.event(room, "m.room.member", {"membership": "invite"}, state_key=alice.user_id)
    target = f"{V1}/invite/{quote(room_id, safe='')}/{quote(invite.event_id, safe='')}"
    assert (await liar.request(one, "PUT", target, invite.pdu)).status == 200


def as_of_old(liar: Liar) -> Any:
    """A server that knows only the older form."""

    def sign(asked: Asked) -> tuple[int, Any]:
        assert isinstance(asked.body["unsigned"]["invite_room_state"], list)
        pdu = {name: value for name, value in asked.body.items() if name != "unsigned"}
        return 200, [200, {"event": sign_event(pdu, ROOM_VERSIONS["1"], liar.name, liar.key)}]

    return sign


@pytest.mark.parametrize("refusal", [(404, {"errcode": "M_UNRECOGNIZED"}), (404, {}), (400, {})])
async def test_server_that_knows_only_the_older_form_is_asked_by_it(
    network: Network, one: FederatedServer, refusal: tuple[int, Any]
) -> None:
    liar, alice = Liar(network), await one.register("alice")
    liar.answers = {V2 + "/invite": refusal, V1 + "/invite": as_of_old(liar)}
    room_id = await alice.create_room(preset="private_chat", room_version="1")
    await alice.post(f"/rooms/{room_id}/invite", {"user_id": liar.user})
    member = await alice.get(f"/rooms/{room_id}/state/m.room.member/{liar.user}")
    assert member["membership"] == "invite"
    newer = await alice.create_room(preset="private_chat", room_version="10")
    liar.asked.clear()
    assert (await alice.request("POST", f"/rooms/{newer}/invite", {"user_id": liar.user})).status != 200
    assert not any(V1 + "/invite" in asked.target for asked in liar.asked)


async def test_refusal_is_no_reason_to_ask_by_the_older_form(network: Network, one: FederatedServer) -> None:
    liar, alice = Liar(network), await one.register("alice")
    liar.answers = {V2 + "/invite": (403, {"errcode": "M_FORBIDDEN", "error": "no"})}
    room_id = await alice.create_room(preset="private_chat", room_version="1")
    assert (await alice.request("POST", f"/rooms/{room_id}/invite", {"user_id": liar.user})).status == 403
    assert not any(V1 + "/invite" in asked.target for asked in liar.asked)


async def test_B01_what_is_told_of_a_room_is_not_of_another(network: Network, one: FederatedServer) -> None:
    liar, alice = Liar(network), await one.register("alice")
    bob = await one.register("bob")
    theirs = await bob.create_room(preset="public_chat")  # version 12, whose id is the hash of its create event
    other = await bob.create_room(preset="public_chat")
    room = await liar.join(one, theirs)
    create = (await one.homeserver.rooms.live.get(theirs)).state_event("m.room.create")
    foreign = (await one.homeserver.rooms.live.get(other)).state_event("m.room.create")
    assert create is not None
    assert foreign is not None
    invite = liar.event(room, "m.room.member", {"membership": "invite"}, state_key=alice.user_id)
    target = f"{V2}/invite/{quote(theirs, safe='')}/{quote(invite.event_id, safe='')}"
    for told, status in (
        ([foreign.event.pdu], 400),
        ([{**create.event.pdu, "depth": 7}], 400),
        ([create.event.pdu], 200),
    ):
        body = {"room_version": "12", "event": invite.pdu, "invite_room_state": told}
        answer = await liar.request(one, "PUT", target, body)
        assert (answer.status, answer.json.get("errcode")) == (status, None if status == 200 else "M_INVALID_PARAM")


async def test_queries_of_a_type_that_nobody_knows_are_unrecognized(one: FederatedServer, two: FederatedServer) -> None:
    await one.register("alice")
    with pytest.raises(RemoteRefused) as refused:
        await two.federation.client.get("one.test", f"{V1}/query/weather", {"place": "成都"})
    assert (refused.value.status, refused.value.remote_errcode) == (404, "M_UNRECOGNIZED")
    known = await two.federation.client.get("one.test", f"{V1}/query/profile", {"user_id": "@alice:one.test"})
    assert known == {}
    reply = await one.federation_application.respond("GET", f"{V1}/query/weather", {}, b"", "192.0.2.1")
    assert reply.status == 401
