"""Long rooms: a thousand messages both ways, and the past for those who come later from another server."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests.end_to_end.federation.conftest import somebody
from tests.end_to_end.federation.people import Person, all_see, eventually
from tests.support.federation_processes import Federation

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

EVENTS = 500
ROUNDS = 10
MESSAGES_A_TURN = 50
"""Two take turns in each round: 1,000 messages."""


@dataclass(frozen=True)
class LongRoom:
    """A room with a long past, made by `bob` at Synapse; `sent`: its messages, oldest first."""

    room_id: str
    alice: Person
    bob: Person
    sent: list[str]


@pytest.fixture(scope="module")
def long_room(servers: Federation) -> LongRoom:
    alice, bob = somebody(servers.halfdoor, "alice"), somebody(servers.synapse, "bob")
    room_id = bob.create_room(preset="public_chat", name="一千")
    alice.join(room_id, bob)
    sent: list[str] = []
    for turn in range(ROUNDS):
        for speaker, listener in ((alice, bob), (bob, alice)):
            sent += [speaker.say(room_id, f"{turn}.{number}") for number in range(MESSAGES_A_TURN)]
            all_see(room_id, sent[-1], listener)
    return LongRoom(room_id, alice, bob, sent)


def test_thousand_messages_both_ways_make_the_same_timeline(long_room: LongRoom) -> None:
    for person in (long_room.alice, long_room.bob):
        assert person.said(long_room.room_id) == long_room.sent[::-1]
    assert long_room.alice.state(long_room.room_id) == long_room.bob.state(long_room.room_id)


def test_halfdoor_scrolls_back_over_what_synapse_has(long_room: LongRoom, carol: Person) -> None:
    room_id, alice, bob = long_room.room_id, long_room.alice, long_room.bob
    alice.do(room_id, "leave")  # so that nobody but Synapse can be asked
    eventually(lambda: bob.membership(room_id, alice) == "leave")
    carol.join(room_id, bob)
    last = carol.say(room_id, "long before my time")
    all_see(room_id, last, bob)
    assert carol.said(room_id) == [last, *long_room.sent[::-1]]
    assert [event["event_id"] for event in carol.timeline(room_id)] == [
        event["event_id"] for event in bob.timeline(room_id)
    ]


def test_synapse_scrolls_back_over_what_halfdoor_has(alice: Person, bob: Person) -> None:
    room_id = alice.create_room(preset="public_chat", name="历史")
    sent = [alice.say(room_id, str(number)) for number in range(EVENTS)]
    bob.join(room_id, alice)
    sent.append(bob.say(room_id, "long before my time"))
    all_see(room_id, sent[-1], alice)
    theirs = bob.timeline(room_id)
    assert [event["event_id"] for event in theirs if event["type"] == "m.room.message"] == sent[::-1]
    assert [event["event_id"] for event in theirs] == [event["event_id"] for event in alice.timeline(room_id)]
    assert theirs[-1]["type"] == "m.room.create"


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
