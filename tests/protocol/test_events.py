"""Events in the shape the rest of the server uses."""

from __future__ import annotations

import timeit

import pytest

from homeserver.protocol.events import Event
from homeserver.protocol.room_versions import V1, V10, V11, V12
from tests.protocol.furnished_room import ALICE, BOB, Room


def test_state_events_have_a_key_and_others_have_none() -> None:
    room = Room(V12)
    state, message = room.event("m.room.name", {}, ""), room.event("m.room.message", {})
    assert (state.is_state, state.key) == (True, ("m.room.name", ""))
    assert (message.is_state, message.state_key) == (False, None)
    with pytest.raises(AssertionError):
        assert message.key


def test_references_of_v1_are_ids_too() -> None:
    room = Room(V1)
    event = room.event("m.room.message", {}, prev_events=[room.create], auth_events=[room.create])
    assert event.prev_events == event.auth_events == [room.create.event_id]
    assert event.pdu["prev_events"] == [[room.create.event_id, {}]]


def test_A02_room_of_v12_is_named_by_its_create_event() -> None:
    room = Room(V12)
    assert room.create.room_id == "!" + room.create.event_id[1:]
    assert room.event("m.room.message", {}).room_id == room.create.room_id


def test_unsigned_is_not_part_of_an_event_and_the_given_object_is_left_alone() -> None:
    pdu = {**Room(V12).event("m.room.message", {}).pdu, "unsigned": {"age": 1}}
    event = Event(pdu, V12)
    assert "unsigned" not in event.pdu
    assert "unsigned" in pdu


def test_given_event_id_is_not_computed_again() -> None:
    pdu = Room(V12).event("m.room.message", {}).pdu
    assert Event(pdu, V12, "$given").event_id == "$given"


def test_target_of_a_redaction_moved_into_the_content_in_v11() -> None:
    assert Room(V10).event("m.room.redaction", {"redacts": "$b"}, redacts="$a").redacts == "$a"
    assert Room(V11).event("m.room.redaction", {"redacts": "$b"}, redacts="$a").redacts == "$b"
    assert Room(V11).event("m.room.redaction", {"redacts": ["$b"]}).redacts is None
    assert Room(V11).event("m.room.message", {"redacts": "$b"}).redacts is None


def test_representation_tells_what_the_event_is() -> None:
    event = Room(V12).event("m.room.member", {}, BOB, sender=ALICE)
    assert repr(event) == f"<Event {event.event_id} m.room.member state_key='{BOB}' v12>"


def test_thousands_of_events_are_made_a_second() -> None:
    event = Room(V12).event("m.room.message", {"body": "hello"})
    best = min(timeit.repeat(lambda: Event(event.pdu, V12, event.event_id), number=1000, repeat=5))
    assert best / 1000 < 20e-6, "constructing an event has become slow"  # measured: 0.4 microseconds
