"""What is seen of the other server's rooms by who is not in them, or was not yet: descriptions, dates and links."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.end_to_end.federation.people import Person, eventually

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

V1 = "/_matrix/client/v1"


def ask(person: Person, path: str, **query: Any) -> tuple[int, Any]:
    return person.server.call("GET", f"{V1}{path}?{urlencode(query)}", token=person.account.access_token)


def test_space_and_room_of_synapse_are_described_before_anybody_joins(alice: Person, bob: Person) -> None:
    via = bob.server.server_name
    space = bob.create_room(preset="public_chat", name="空间", creation_content={"type": "m.space"})
    inside = bob.create_room(preset="public_chat", name="里面", topic="茶")
    hidden = bob.create_room(preset="private_chat", name="secret")
    for room_id in (inside, hidden):
        bob.set_state(space, "m.space.child", {"via": [via]}, room_id)
    status, answer = ask(alice, f"/rooms/{quote(space)}/hierarchy", via=via)
    assert status == 200, answer
    assert {room["room_id"]: room["name"] for room in answer["rooms"]} == {space: "空间", inside: "里面"}
    status, summary = ask(alice, f"/room_summary/{quote(inside)}", via=via)
    assert (status, summary["name"], summary["topic"], summary["membership"]) == (200, "里面", "茶", "leave")
    assert ask(alice, f"/room_summary/{quote(hidden)}", via=via)[0] == 404


def test_event_of_a_date_before_the_join_is_found_with_its_surroundings(alice: Person, bob: Person) -> None:
    room_id = bob.create_room(preset="public_chat")
    sent = []
    for number in range(12):
        sent.append(bob.say(room_id, str(number)))
        time.sleep(0.01)  # each is of another millisecond
    wanted = bob.event(room_id, sent[4])["origin_server_ts"]
    alice.join(room_id, bob)
    assert alice.event(room_id, sent[2])["content"]["body"] == "2"  # by a link, before anybody scrolled there

    def found() -> bool:
        status, answer = ask(alice, f"/rooms/{quote(room_id)}/timestamp_to_event", ts=wanted, dir="f")
        return status == 200 and answer == {"event_id": sent[4], "origin_server_ts": wanted}

    eventually(found)
    around = alice.ok("GET", f"/rooms/{quote(room_id)}/context/{quote(sent[4])}", limit=4)
    assert [event["event_id"] for event in around["events_before"]] == [sent[3], sent[2]]
    assert [event["event_id"] for event in around["events_after"]] == [sent[5], sent[6]]
