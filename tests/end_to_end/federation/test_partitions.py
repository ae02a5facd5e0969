"""Servers that cannot reach each other for a while, are stopped or crash: afterwards all have the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.end_to_end.federation.people import Person, all_see, eventually
from tests.support.federation_processes import Federation
from tests.support.server_process import ServerProcess

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

VERSIONS = ["6", "10", "11", "12"]
MISSED = 30
"""Messages of one side that the other misses: more than one request for missing events brings."""


def shared_room(host: Person, guest: Person, version: str = "12") -> str:
    """A room in which both may change anything."""
    room_id = host.create_room(preset="public_chat", room_version=version)
    guest.join(room_id, host)
    levels = host.state_content(room_id, "m.room.power_levels")
    levels["users"] = {**levels.get("users", {}), guest.user_id: 90}
    host.set_state(room_id, "m.room.power_levels", levels)
    eventually(lambda: host.state(room_id) == guest.state(room_id))
    return room_id


def has_all(person: Person, room_id: str, wanted: list[str]) -> bool:
    return set(wanted) <= set(person.said(room_id))


def test_state_is_the_same_after_a_partition(servers: Federation, alice: Person, bob: Person) -> None:
    rooms = [
        (host, guest, shared_room(host, guest, version))
        for version in VERSIONS
        for host, guest in ((alice, bob), (bob, alice))
    ]
    with servers.partition():
        for host, guest, room_id in rooms:
            for person in (host, guest):
                person.set_state(room_id, "m.room.topic", {"topic": f"by {person.user_id}"})
                person.set_state(room_id, "org.example.own", {"by": person.user_id}, person.user_id)
            guest.set_state(room_id, "m.room.name", {"name": "before the guest lost the power"})
            levels = host.state_content(room_id, "m.room.power_levels")
            levels["users"][guest.user_id] = 0
            host.set_state(room_id, "m.room.power_levels", levels)
            guest.set_state(room_id, "m.room.topic", {"topic": "without power, had the guest but known"})
            assert host.state(room_id) != guest.state(room_id)
    for host, guest, room_id in rooms:
        all_see(room_id, host.say(room_id, "over"), guest)
        all_see(room_id, guest.say(room_id, "over"), host)
        eventually(lambda: host.state(room_id) == guest.state(room_id))  # noqa: B023
        assert host.state_content(room_id, "m.room.power_levels")["users"][guest.user_id] == 0


def test_messages_of_both_sides_of_a_partition_are_there_after_it(
    servers: Federation, alice: Person, bob: Person, carol: Person
) -> None:
    room_id = shared_room(alice, bob)
    carol.join(room_id, alice)
    all_see(room_id, carol.say(room_id, "here"), alice, bob)
    people = (alice, bob, carol)
    with servers.partition():
        missed = [person.say(room_id, f"{number}") for number in range(MISSED) for person in people]
    for person in people:
        all_see(room_id, person.say(room_id, "over"), *people)
    for person in people:
        eventually(lambda: has_all(person, room_id, missed))  # noqa: B023
    assert sorted(alice.said(room_id)) == sorted(bob.said(room_id)) == sorted(carol.said(room_id))


@contextmanager
def stopped(server: ServerProcess) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


def test_synapse_that_was_stopped_catches_up(servers: Federation, alice: Person, bob: Person) -> None:
    long, short = shared_room(alice, bob), shared_room(bob, alice)
    before = [bob.say(long, "before")]
    all_see(long, before[0], alice)
    with stopped(servers.synapse):
        missed = [alice.say(long, str(number)) for number in range(MISSED)]
        only = alice.say(short, "only one")
        alice.set_state(short, "m.room.topic", {"topic": "meanwhile"})
    servers.forget_failures()
    all_see(long, missed[-1], bob)
    all_see(short, only, bob)
    eventually(lambda: has_all(bob, long, missed))
    assert bob.said(long) == alice.said(long) == [*missed[::-1], *before]
    eventually(lambda: alice.state(short) == bob.state(short))
    all_see(long, bob.say(long, "back"), alice)


def test_halfdoor_that_was_killed_catches_up(servers: Federation, alice: Person, bob: Person) -> None:
    room_id = shared_room(bob, alice)
    told: list[str] = []
    enough = threading.Event()

    def talk() -> None:
        while len(told) < 2_000:  # the end is the crash, and this only if it does not come
            try:
                told.append(alice.say(room_id, str(len(told))))
            except (OSError, ValueError):
                return
            if len(told) == MISSED:
                enough.set()

    talking = threading.Thread(target=talk)
    talking.start()
    heard = [bob.say(room_id, f"before {number}") for number in range(5)]
    enough.wait(60)
    servers.halfdoor.kill()
    talking.join()
    heard += [bob.say(room_id, f"meanwhile {number}") for number in range(MISSED)]
    servers.halfdoor.start()
    servers.forget_failures()
    all_see(room_id, bob.say(room_id, "are you there?"), alice)
    all_see(room_id, alice.say(room_id, "I am"), bob)
    for person in (alice, bob):
        eventually(lambda: has_all(person, room_id, [*told, *heard]))  # noqa: B023
    assert sorted(alice.said(room_id)) == sorted(bob.said(room_id))
    assert len(set(alice.said(room_id))) == len(alice.said(room_id))
    eventually(lambda: alice.state(room_id) == bob.state(room_id))
