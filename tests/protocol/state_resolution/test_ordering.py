"""The definitions of v2, one by one: what conflicts, auth difference, subgraph, and the two orders."""

from __future__ import annotations

from typing import Any

from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import EventId
from homeserver.protocol.room_versions import ROOM_VERSIONS
from homeserver.protocol.state_resolution.conflicts import (
    auth_difference,
    auth_order,
    conflicted_subgraph,
    separate,
)
from homeserver.protocol.state_resolution.ordering import mainline_order, reverse_topological_power_order
from homeserver.protocol.state_resolution.v2 import is_power_event
from tests.support.room_builder import RoomBuilder

ALICE, BOB = "@alice:here", "@bob:there"


def graph(**auth_events: str) -> dict[EventId, Event]:
    """Bare events with one-letter ids and the auth events named; their time is their place in the list."""
    events = {}
    for time, (name, auth) in enumerate(auth_events.items()):
        pdu: dict[str, Any] = {
            "type": "m.room.power_levels" if name.startswith("p") else "m.x",
            "state_key": "",
            "sender": ALICE,
            "room_id": "!r:x",
            "content": {},
            "depth": 1,
            "origin_server_ts": time,
            "prev_events": [],
            "auth_events": auth.split(),
        }
        events[EventId(name)] = Event(pdu, ROOM_VERSIONS["11"], name)
    return events


def names(*ids: str) -> list[EventId]:
    return [EventId(name) for name in ids]


def test_a_key_conflicts_unless_every_state_has_the_same_event() -> None:
    a, b, c, d = names("a", "b", "c", "d")
    first = {("a", ""): a, ("b", ""): b, ("c", ""): c}
    second = {("a", ""): a, ("b", ""): d}
    assert separate([first, second]) == ({("a", ""): a}, {b, c, d})


def test_the_auth_difference_is_what_is_not_in_every_auth_chain() -> None:
    events = graph(root="", a="root", b="a", c="a", d="c", e="b", f="d")
    first, second = {("x", ""): EventId("e")}, {("x", ""): EventId("f")}
    assert auth_difference([first, second], events) == set(names("b", "c", "d"))
    assert auth_difference([first, first], events) == set()


def test_an_event_is_not_in_its_own_auth_chain() -> None:
    events = graph(root="", a="root", b="a")
    both = {("a", ""): EventId("a")}
    assert auth_difference([both, {**both, ("b", ""): EventId("b")}], events) == {EventId("a")}


def test_the_conflicted_subgraph_is_what_lies_between_conflicting_events() -> None:
    events = graph(root="", low="root", one="low", two="one", aside="low", high="two aside", other="root")
    conflicted = set(names("low", "high", "other"))
    assert conflicted_subgraph(conflicted, events) == set(names("low", "one", "two", "aside", "high", "other"))
    assert conflicted_subgraph(set(names("two", "other")), events) == set(names("two", "other"))


def test_auth_events_come_before_what_they_authorise_however_deep_the_chain() -> None:
    chain = {"e0": ""} | {f"e{n}": f"e{n - 1}" for n in range(1, 5000)}
    order = auth_order(graph(**chain), names("e4999"))
    assert order == [f"e{n}" for n in range(5000)]


def test_a_loop_of_auth_events_ends() -> None:
    events = graph(pa="pb", pb="pa", x="pa")
    assert set(auth_order(events, names("x"))) == set(events)
    assert mainline_order(names("x"), EventId("pa"), events) == ["x"]
    assert mainline_order(names("x"), None, events) == ["x"]
    assert reverse_topological_power_order(set(names("x")), events) == ["x"]


def test_power_events_are_those_that_can_take_power_away() -> None:
    room = RoomBuilder("11", ALICE)
    assert is_power_event(room.state_events[("m.room.power_levels", "")])
    assert is_power_event(room.state_events[("m.room.join_rules", "")])
    assert not is_power_event(room.create)
    assert not is_power_event(room.join(BOB))
    assert is_power_event(room.kick(ALICE, BOB))
    assert is_power_event(room.ban(ALICE, BOB))
    assert is_power_event(room.kick(ALICE, BOB))
    room.join(BOB)
    assert not is_power_event(room.leave(BOB))
    assert not is_power_event(room.message(ALICE))


def test_power_orders_by_power_then_time_then_id_but_never_against_the_graph() -> None:
    room = RoomBuilder("11", ALICE)
    room.join(BOB)
    levels = room.power_levels(ALICE, {BOB: 50})
    by_bob = room.fork().topic(BOB, "x", at=0)
    late = room.fork().topic(ALICE, "x", at=100)
    early = room.fork().topic(ALICE, "y", at=99)
    twins = sorted([late, room.fork().topic(ALICE, "z", at=100)], key=lambda event: event.event_id)
    chosen = {event.event_id for event in (levels, by_bob, late, early, *twins)}
    expected = [levels, early, *twins, by_bob]
    assert reverse_topological_power_order(chosen, room.events) == [event.event_id for event in expected]


def test_creators_of_version_12_come_before_every_level() -> None:
    room = RoomBuilder("12", ALICE)
    room.join(BOB)
    room.power_levels(ALICE, {BOB: 2**53 - 1})
    by_bob, by_alice = room.fork().topic(BOB, "x", at=0), room.fork().topic(ALICE, "x", at=1)
    chosen = {by_bob.event_id, by_alice.event_id}
    assert reverse_topological_power_order(chosen, room.events) == [by_alice.event_id, by_bob.event_id]


def test_the_mainline_orders_by_the_power_levels_that_events_rest_on() -> None:
    events = graph(
        p0="", p1="p0", p2="p1", pside="p0", on2="p2", on1="p1", none="", aside="pside", on0="p0", beside="pside"
    )
    chosen = names("on2", "on1", "none", "aside", "beside", "on0")
    # Without a place on the mainline first; then by p0, directly or by a side branch, by time; then by p1, then by p2.
    assert mainline_order(chosen, EventId("p2"), events) == ["none", "aside", "on0", "beside", "on1", "on2"]
    assert mainline_order(names("p2", "p1", "p0"), EventId("p2"), events) == ["p0", "p1", "p2"]
