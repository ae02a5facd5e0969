"""Halfdoor, a real Synapse and another Halfdoor talk: in four room versions, at length, and all at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest

from tests.end_to_end.federation.people import Person, all_see, eventually

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

VERSIONS = ["6", "10", "11", "12"]
AT_ONCE = 50


@pytest.mark.parametrize("version", VERSIONS)
def test_both_sides_have_one_conversation(host_and_guest: tuple[Person, Person], version: str) -> None:
    host, guest = host_and_guest
    room_id = host.create_room(preset="public_chat", room_version=version, name="房间")
    sent = [host.say(room_id, "before anybody came")]
    guest.join(room_id, host)
    for number in range(10):
        sent.append((guest if number % 2 else host).say(room_id, f"{number} 你好"))
        all_see(room_id, sent[-1], host, guest)
    assert host.said(room_id) == guest.said(room_id) == sent[::-1]
    assert host.state(room_id) == guest.state(room_id)


def test_messages_sent_at_once_all_arrive(alice: Person, bob: Person) -> None:
    room_id = alice.create_room(preset="public_chat")
    bob.join(room_id, alice)

    def speak(person: Person) -> list[str]:
        return [person.say(room_id, str(number)) for number in range(AT_ONCE)]

    with ThreadPoolExecutor(2) as threads:
        by_alice, by_bob = threads.map(speak, (alice, bob))
    all_see(room_id, by_alice[-1], bob)
    all_see(room_id, by_bob[-1], alice)
    for person in (alice, bob):
        said = person.said(room_id)
        assert sorted(said) == sorted([*by_alice, *by_bob])
        assert [one for one in said if one in by_alice] == by_alice[::-1]
        assert [one for one in said if one in by_bob] == by_bob[::-1]


def test_third_server_is_heard_by_both(alice: Person, bob: Person, carol: Person) -> None:
    room_id = alice.create_room(preset="public_chat")
    bob.join(room_id, alice)
    carol.join(room_id, bob)
    all_see(room_id, carol.say(room_id, "我是第三个"), alice, bob)
    all_see(room_id, alice.say(room_id, "second"), bob, carol)
    all_see(room_id, bob.say(room_id, "third"), alice, carol)
    assert alice.state(room_id) == bob.state(room_id) == carol.state(room_id)
    alice.do(room_id, "leave")  # whoever made the room need not stay
    eventually(lambda: bob.membership(room_id, alice) == carol.membership(room_id, alice) == "leave")
    all_see(room_id, bob.say(room_id, "without its maker"), carol)
    all_see(room_id, carol.say(room_id, "still"), bob)


def relations(person: Person, room_id: str, event_id: str, kind: str) -> list[str]:
    status, page = person.server.call(
        "GET",
        f"/_matrix/client/v1/rooms/{quote(room_id)}/relations/{quote(event_id)}/{kind}",
        token=person.account.access_token,
    )
    assert status == 200, page
    return [event["event_id"] for event in page["chunk"]]


@pytest.mark.parametrize("version", ["10", "12"])
def test_edits_threads_reactions_and_redactions_arrive(host_and_guest: tuple[Person, Person], version: str) -> None:
    host, guest = host_and_guest
    room_id = host.create_room(preset="public_chat", room_version=version)
    guest.join(room_id, host)
    first, bad = host.say(room_id, "frist"), guest.say(room_id, "spam")
    all_see(room_id, first, guest)
    all_see(room_id, bad, host)

    def related(kind: str, target: str, **more: Any) -> dict[str, Any]:
        return {"m.relates_to": {"rel_type": kind, "event_id": target, **more}}

    text = {"msgtype": "m.text", "body": "first"}
    edit = host.send(room_id, "m.room.message", {**text, "m.new_content": text, **related("m.replace", first)})
    answer = guest.send(room_id, "m.room.message", {**text, **related("m.thread", first)})
    liked = guest.send(room_id, "m.reaction", related("m.annotation", first, key="👍"))
    removal = host.redact(room_id, bad, reason="spam")
    for person in (host, guest):
        for event_id in (edit, answer, liked, removal):
            all_see(room_id, event_id, person)
        shown = person.event(room_id, first)
        bundled = shown["unsigned"]["m.relations"]
        assert bundled["m.replace"]["event_id"] == edit
        assert bundled["m.thread"]["latest_event"]["event_id"] == answer
        assert relations(person, room_id, first, "m.annotation") == [liked]
        eventually(lambda: person.event(room_id, bad)["content"] == {})  # noqa: B023
        assert person.event(room_id, bad)["unsigned"]["redacted_because"]["event_id"] == removal
    guest.redact(room_id, liked)  # one's own, as anybody may
    eventually(lambda: relations(host, room_id, first, "m.annotation") == [])
