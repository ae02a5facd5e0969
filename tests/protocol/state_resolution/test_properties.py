"""Properties of every resolution, tried on random rooms with forks and merges."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.protocol.authorization import NotAuthorized, check_authorized
from homeserver.protocol.state_resolution import auth_difference, differing, needed_keys, resolve, separate
from homeserver.protocol.state_resolution.conflicts import auth_order, beneath
from tests.support.room_builder import RoomBuilder, merge

USERS = ["@alice:here", "@bob:there", "@carol:there", "@dave:elsewhere"]
PEACEFUL = ("join", "topic", "name", "promote", "message")
HOSTILE = ("invite", "ban", "kick", "leave", "demote", "join_rules", "power")
VERSIONS = pytest.mark.parametrize("version", ["1", "2", "11", "12"])

Step = tuple[str, int, int, int]


def steps(*kinds: str) -> st.SearchStrategy[list[Step]]:
    step = st.tuples(
        st.sampled_from([*kinds, "fork", "merge"]), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)
    )
    return st.lists(step, min_size=4, max_size=22)


def act(room: RoomBuilder, kind: str, actor: str, target: str, number: int) -> None:
    match kind:
        case "join":
            room.join(actor, content={"displayname": str(number)})
        case "leave":
            room.leave(actor)
        case "invite" | "ban":
            room.member(actor, target, kind)
        case "kick":
            room.kick(actor, target)
        case "topic" | "name":
            room.state(actor, f"m.room.{kind}", {kind: str(number)}, at=number % 7 * 1000)
        case "promote":
            room.power_levels(USERS[0], {target: 50} if target != USERS[0] else {})
        case "demote":
            room.power_levels(actor, {target: 0})
        case "power":
            room.power_levels(actor, {target: number % 3 * 50}, at=number % 5 * 1000)
        case "join_rules":
            room.join_rules(actor, "invite" if number % 2 else "public")
        case "message":
            room.message(actor)


def build(version: str, story: list[Step]) -> list[RoomBuilder]:
    """The branches that the steps make; a step that the rules do not allow is not taken."""
    room = RoomBuilder(version, USERS[0])
    room.join(USERS[1])
    room.power_levels(USERS[0], {USERS[1]: 50})
    branches = [room, room.fork()]
    for number, (kind, actor, target, place) in enumerate(story):
        branch = branches[place % len(branches)]
        if kind == "fork":
            if len(branches) < 4:
                branches.append(branch.fork())
        elif kind == "merge":
            branches[place % len(branches)] = merge(branch, branches[target % len(branches)])
        else:
            try:
                act(branch, kind, USERS[actor], USERS[target], number)
            except NotAuthorized:
                continue
    return branches


relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@VERSIONS
@given(story=steps(*PEACEFUL, *HOSTILE), seed=st.integers(0, 2**32))
@relaxed
def test_every_resolution_keeps_what_the_specification_promises(version: str, story: list[Step], seed: int) -> None:
    branches = build(version, story)
    room, states = branches[0], [branch.state_ids for branch in branches]
    resolved = resolve(room.version, states, room.events)

    # The same whatever the order of the states, of the events and of the entries.
    chance = random.Random(seed)
    shuffled_events = dict(chance.sample(list(room.events.items()), len(room.events)))
    shuffled_states = [
        dict(chance.sample(list(state.items()), len(state))) for state in chance.sample(states, len(states))
    ]
    assert resolve(room.version, shuffled_states, shuffled_events) == resolved
    assert resolve(room.version, [*states, states[0]], room.events) == resolved

    # Equal states are their own resolution, and so is what has been resolved.
    assert resolve(room.version, [resolved, resolved], room.events) == resolved

    # What all agree on is kept.
    unconflicted = set.intersection(*(set(state.items()) for state in states))
    assert unconflicted <= set(resolved.items())

    # Every entry is an event of this key that its own auth events allow.
    for key, event_id in resolved.items():
        event = room.events[event_id]
        assert event.key == key
        own_state = {room.events[auth_id].key: room.events[auth_id] for auth_id in event.auth_events}
        check_authorized(event, {room.create.key: room.create} | own_state if event is not room.create else {})


@pytest.mark.parametrize("version", ["2", "11", "12"])
@given(story=steps(*PEACEFUL, *HOSTILE))
@relaxed
def test_a_resolution_needs_the_conflict_and_of_the_rest_only_what_it_asks_for(version: str, story: list[Step]) -> None:
    branches = build(version, story)
    room, states = branches[0], [branch.state_ids for branch in branches]
    unconflicted, conflicted = separate(states)
    if not conflicted:
        return
    events = room.events
    asked = {
        unconflicted[key]
        for key in needed_keys(events[one] for one in auth_order(events, conflicted))
        if key in unconflicted
    }
    few = {event_id: events[event_id] for event_id in auth_order(events, conflicted | asked | {room.create.event_id})}
    difference = auth_difference(differing(states, unconflicted), few)
    shared = beneath(difference, unconflicted.values(), events)
    # By the specification: what is in some auth chains of whole states, and not in all of them.
    assert difference - shared == auth_difference(states, events)
    assert resolve(room.version, states, few, shared=shared) == resolve(room.version, states, events)


@pytest.mark.parametrize("version", ["2", "11", "12"])
@given(story=steps(*PEACEFUL))
@relaxed
def test_A01_what_every_branch_has_does_not_disappear_unless_power_was_taken(version: str, story: list[Step]) -> None:
    branches = build(version, story)
    states = [branch.state_ids for branch in branches]
    resolved = resolve(branches[0].version, states, branches[0].events)
    assert set.intersection(*map(set, states)) <= set(resolved)
