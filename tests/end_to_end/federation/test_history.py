"""The past of a room, for those who came later to it from another server."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.end_to_end.federation.people import Person, all_see

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

EVENTS = 500


def test_five_hundred_events_are_there_for_who_scrolls_back(host_and_guest: tuple[Person, Person]) -> None:
    host, guest = host_and_guest
    room_id = host.create_room(preset="public_chat", name="历史")
    sent = [host.say(room_id, str(number)) for number in range(EVENTS)]
    guest.join(room_id, host)
    sent.append(guest.say(room_id, "long before my time"))
    all_see(room_id, sent[-1], host)
    theirs, ours = host.timeline(room_id), guest.timeline(room_id)
    assert [event["event_id"] for event in ours if event["type"] == "m.room.message"] == sent[::-1]
    assert [event["event_id"] for event in ours] == [event["event_id"] for event in theirs]
    assert ours[-1]["type"] == "m.room.create"


def test_old_event_is_shown_with_what_surrounds_it(host_and_guest: tuple[Person, Person]) -> None:
    host, guest = host_and_guest
    room_id = host.create_room(preset="public_chat")
    sent = [host.say(room_id, str(number)) for number in range(20)]
    guest.join(room_id, host)
    guest.timeline(room_id)
    around = guest.ok("GET", f"/rooms/{quote(room_id)}/context/{quote(sent[10])}", limit=6)
    assert around["event"]["content"]["body"] == "10"
    before = [event["event_id"] for event in around["events_before"]]
    after = [event["event_id"] for event in around["events_after"]]
    assert after == sent[11:14]
    if guest.server.kind == "halfdoor":  # Synapse leaves one out where pages of the past meet
        assert before == sent[7:10][::-1]


def test_history_that_is_for_members_alone_is_hidden_from_who_comes_later(
    host_and_guest: tuple[Person, Person],
) -> None:
    host, guest = host_and_guest
    since_joined = {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "joined"}}
    room_id = host.create_room(preset="public_chat", initial_state=[since_joined])
    secret = host.say(room_id, "before")
    guest.join(room_id, host)
    said = host.say(room_id, "after")
    all_see(room_id, said, guest)
    assert guest.said(room_id) == [said]
    assert guest.event(room_id, secret) == {}
