"""People come and go between Halfdoor and a real Synapse: invited, knocking, restricted, leaving, kicked, banned."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.end_to_end.federation.conftest import somebody
from tests.end_to_end.federation.people import Person, all_see, eventually

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

Two = tuple[Person, Person]


@pytest.mark.parametrize("version", ["6", "10", "11", "12"])
def test_invites_kicks_and_bans_cross(host_and_guest: Two, version: str) -> None:
    host, guest = host_and_guest
    room_id = host.create_room(preset="private_chat", room_version=version, name="客厅")
    assert guest.may_not_join(room_id, host)
    host.do(room_id, "invite", guest, reason="come in")
    stripped = {(event["type"], event["state_key"]): event for event in guest.sees_invite(room_id)}
    assert stripped["m.room.name", ""]["content"] == {"name": "客厅"}
    assert stripped["m.room.member", guest.user_id]["sender"] == host.user_id
    assert stripped["m.room.member", guest.user_id]["content"]["reason"] == "come in"
    guest.join(room_id)
    all_see(room_id, guest.say(room_id, "我来了"), host)
    host.do(room_id, "kick", guest, reason="out")
    eventually(lambda: not guest.is_in(room_id))
    assert guest.may_not_join(room_id, host)
    host.do(room_id, "ban", guest)
    assert guest.may_not_join(room_id, host)
    host.do(room_id, "unban", guest)
    host.do(room_id, "invite", guest)
    eventually(lambda: guest.membership(room_id, guest) == "invite" or invited(guest, room_id))
    guest.join(room_id)
    all_see(room_id, guest.say(room_id, "again"), host)


def invited(person: Person, room_id: str) -> bool:
    return room_id in person.ok("GET", "/sync").get("rooms", {}).get("invite", {})


def test_ban_of_somebody_in_the_room_crosses(host_and_guest: Two) -> None:
    host, guest = host_and_guest
    room_id = host.create_room(preset="public_chat")
    guest.join(room_id, host)
    guest.catch_up()
    host.do(room_id, "ban", guest, reason="enough")
    left = guest.follow(lambda answer: answer.get("rooms", {}).get("leave", {}).get(room_id))
    events = [*left["timeline"]["events"], *left.get("state", {}).get("events", ())]
    own = [one for one in events if one["type"] == "m.room.member" and one["state_key"] == guest.user_id]
    assert own[-1]["content"]["membership"] == "ban"
    assert own[-1]["content"]["reason"] == "enough"
    assert guest.may_not_join(room_id, host)


def test_who_leaves_is_seen_to_leave_and_may_come_back(host_and_guest: Two) -> None:
    host, guest = host_and_guest
    room_id = host.create_room(preset="public_chat")
    guest.join(room_id, host)
    eventually(lambda: host.membership(room_id, guest) == "join")
    guest.do(room_id, "leave", reason="bye")
    eventually(lambda: host.membership(room_id, guest) == "leave")
    missed = host.say(room_id, "nobody there")
    guest.join(room_id, host)
    heard = host.say(room_id, "back?")
    all_see(room_id, heard, guest)
    all_see(room_id, guest.say(room_id, "back"), host)
    eventually(lambda: missed in guest.said(room_id))
    assert guest.said(room_id) == host.said(room_id)
    assert host.state(room_id) == guest.state(room_id)


def test_invite_is_declined_or_withdrawn(host_and_guest: Two) -> None:
    host, guest = host_and_guest
    room_id = host.create_room(preset="private_chat")
    host.do(room_id, "invite", guest)
    guest.sees_invite(room_id)
    guest.do(room_id, "leave")
    eventually(lambda: host.membership(room_id, guest) == "leave")
    host.do(room_id, "invite", guest)
    guest.sees_invite(room_id)
    host.do(room_id, "kick", guest)
    guest.follow(lambda answer: room_id in answer.get("rooms", {}).get("leave", {}))
    assert not invited(guest, room_id)


def may_knock(version: str) -> dict[str, Any]:
    rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    return {"preset": "private_chat", "room_version": version, "initial_state": [rules], "name": "门"}


def knock(guest: Person, host: Person, room_id: str, **body: Any) -> None:
    name = host.server.server_name
    guest.ok("POST", f"/knock/{quote(room_id)}", body, via=name, server_name=name)


@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_who_knocks_is_let_in(host_and_guest: Two, version: str) -> None:
    host, guest = host_and_guest
    room_id = host.create_room(**may_knock(version))
    knock(guest, host, room_id, reason="让我进去")
    shown = guest.follow(lambda answer: answer.get("rooms", {}).get("knock", {}).get(room_id))
    stripped = {event["type"]: event["content"] for event in shown["knock_state"]["events"]}
    assert stripped["m.room.name"] == {"name": "门"}
    eventually(lambda: host.membership(room_id, guest) == "knock")
    assert host.state_content(room_id, "m.room.member", guest.user_id)["reason"] == "让我进去"
    host.do(room_id, "invite", guest)
    guest.sees_invite(room_id)
    guest.join(room_id)
    all_see(room_id, guest.say(room_id, "thanks"), host)
    assert host.state(room_id) == guest.state(room_id)


def test_knock_is_denied_or_taken_back(host_and_guest: Two, carol: Person) -> None:
    host, guest = host_and_guest
    room_id = host.create_room(**may_knock("12"))
    for knocking in (guest, carol):
        knock(knocking, host, room_id)
        eventually(lambda: host.membership(room_id, knocking) == "knock")  # noqa: B023
        knocking.catch_up()
        host.do(room_id, "kick", knocking)
        if knocking.server.kind == host.server.kind:  # Synapse tells nobody, and would not listen
            knocking.follow(lambda answer: room_id in answer.get("rooms", {}).get("leave", {}))
        knock(knocking, host, room_id)
        eventually(lambda: host.membership(room_id, knocking) == "knock")  # noqa: B023
        knocking.do(room_id, "leave")
        if knocking.server.kind == "halfdoor":  # Synapse forgets its user's knock, and tells nobody
            eventually(lambda: host.membership(room_id, knocking) == "leave")  # noqa: B023


@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_restricted_room_lets_in_who_is_in_the_other(host_and_guest: Two, version: str) -> None:
    host, guest = host_and_guest
    lobby = host.create_room(preset="public_chat", room_version=version)
    allow = [{"type": "m.room_membership", "room_id": lobby}]
    rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "restricted", "allow": allow}}
    room_id = host.create_room(preset="private_chat", room_version=version, initial_state=[rules])
    stranger = somebody(guest.server, "stranger")
    assert stranger.may_not_join(room_id, host)
    guest.join(lobby, host)
    eventually(lambda: host.membership(lobby, guest) == "join")
    guest.join(room_id, host)
    all_see(room_id, guest.say(room_id, "inside"), host)
    member = host.state_content(room_id, "m.room.member", guest.user_id)
    assert member["join_authorised_via_users_server"] == host.user_id
    assert stranger.may_not_join(room_id, host)
    assert host.state(room_id) == guest.state(room_id)
