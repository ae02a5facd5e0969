"""What wins when two branches of a room do things that do not go together, under each of the algorithms."""

from __future__ import annotations

import time
from hashlib import sha1

import pytest

from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.state_resolution import resolve
from tests.support.room_builder import RoomBuilder, merge

ALICE, BOB, CHARLIE = "@alice:here", "@bob:there", "@charlie:elsewhere"
TOPIC = ("m.room.topic", "")
POWER_LEVELS = ("m.room.power_levels", "")
JOIN_RULES = ("m.room.join_rules", "")

# One version of each algorithm, and version 2 for the second algorithm with ids that the event says itself.
ALL = pytest.mark.parametrize("version", ["1", "2", "11", "12"])
SINCE_V2 = pytest.mark.parametrize("version", ["2", "11", "12"])


def member(user_id: str) -> StateKey:
    return ("m.room.member", user_id)


def room_with_moderator(version: str) -> RoomBuilder:
    room = RoomBuilder(version, ALICE)
    room.join(BOB)
    room.join(CHARLIE)
    room.power_levels(ALICE, {BOB: 50})
    room.topic(ALICE, "Before")
    return room


@SINCE_V2
@pytest.mark.parametrize("ban_first", [True, False])
def test_a_banned_moderators_concurrent_topic_is_undone(version: str, ban_first: bool) -> None:
    room = room_with_moderator(version)
    left, right = room.fork(), room.fork()
    if ban_first:
        left.ban(ALICE, BOB)
    right.topic(BOB, "Mine")
    if not ban_first:
        left.ban(ALICE, BOB)
    merged = merge(left, right)
    assert merged.state_events[member(BOB)].content["membership"] == "ban"
    assert merged.state_events[TOPIC].content["topic"] == "Before"


def test_v1_judges_a_concurrent_topic_by_the_ban_too() -> None:
    room = room_with_moderator("1")
    left, right = room.fork(), room.fork()
    right.topic(BOB, "Mine")
    left.message(ALICE)
    left.message(ALICE)
    left.ban(ALICE, BOB)
    merged = merge(left, right)
    # The ban has its own key, of which right has an older event; by depth the ban comes last and stays.
    assert merged.state_events[member(BOB)].content["membership"] == "ban"
    assert merged.state_events[TOPIC].content["topic"] == "Before"


@SINCE_V2
def test_a_demoted_moderators_concurrent_topic_is_undone(version: str) -> None:
    room = room_with_moderator(version)
    left, right = room.fork(), room.fork()
    right.topic(BOB, "Mine")
    left.power_levels(ALICE, {BOB: 0})
    merged = merge(left, right)
    assert merged.state_events[POWER_LEVELS].content["users"][BOB] == 0
    assert merged.state_events[TOPIC].content["topic"] == "Before"


@SINCE_V2
def test_of_two_who_ban_each_other_the_more_powerful_wins(version: str) -> None:
    room = RoomBuilder(version, ALICE)
    room.join(BOB)
    room.join(CHARLIE)
    room.power_levels(ALICE, {BOB: 60, CHARLIE: 50})
    left, right = room.fork(), room.fork()
    right.power_levels(CHARLIE, {"@dave:x": 1})
    left.ban(BOB, CHARLIE)
    merged = merge(left, right)
    assert merged.state_events[member(CHARLIE)].content["membership"] == "ban"
    assert "@dave:x" not in merged.state_events[POWER_LEVELS].content["users"]


@SINCE_V2
def test_of_two_topics_by_the_same_power_levels_the_later_wins(version: str) -> None:
    room = room_with_moderator(version)
    left, right = room.fork(), room.fork()
    left.topic(ALICE, "Later", at=50_000)
    right.topic(BOB, "Earlier", at=40_000)
    assert merge(left, right).state_events[TOPIC].content["topic"] == "Later"


@SINCE_V2
def test_a_topic_by_newer_power_levels_wins_over_one_that_claims_to_be_later(version: str) -> None:
    room = room_with_moderator(version)
    left, right = room.fork(), room.fork()
    left.power_levels(ALICE, {CHARLIE: 50})
    left.topic(CHARLIE, "By the newer levels", at=0)
    right.topic(BOB, "Claims to be from the future", at=10**9)
    assert merge(left, right).state_events[TOPIC].content["topic"] == "By the newer levels"


@SINCE_V2
def test_of_two_topics_at_the_same_time_the_greater_id_wins(version: str) -> None:
    room = room_with_moderator(version)
    left, right = room.fork(), room.fork()
    ids = [left.topic(ALICE, "One", at=50_000).event_id, right.topic(ALICE, "Two", at=50_000).event_id]
    assert merge(left, right).state_ids[TOPIC] == max(ids)


@SINCE_V2
def test_a_join_into_a_room_that_was_closed_meanwhile_is_undone(version: str) -> None:
    room = room_with_moderator(version)
    left, right = room.fork(), room.fork()
    right.join("@dave:x")
    left.join_rules(ALICE, "invite")
    merged = merge(left, right)
    assert merged.state_events[JOIN_RULES].content["join_rule"] == "invite"
    assert member("@dave:x") not in merged.state_ids


@SINCE_V2
def test_a_ban_wins_over_a_concurrent_join_and_change_of_name(version: str) -> None:
    room = room_with_moderator(version)
    left, right = room.fork(), room.fork()
    left.ban(ALICE, CHARLIE)
    right.join(CHARLIE, content={"displayname": "Still here"})
    assert merge(left, right).state_events[member(CHARLIE)].content["membership"] == "ban"


@ALL
def test_states_that_do_not_conflict_are_united(version: str) -> None:
    room = room_with_moderator(version)
    left, right = room.fork(), room.fork()
    left.join("@dave:x")
    right.state(ALICE, "m.room.name", {"name": "A name"})
    merged = merge(left, right)
    assert merged.state_events[("m.room.name", "")].content["name"] == "A name"
    assert member("@dave:x") in merged.state_ids


@ALL
def test_one_state_and_equal_states_are_their_own_resolution(version: str) -> None:
    room = room_with_moderator(version)
    assert resolve(room.version, [], {}) == {}
    assert resolve(room.version, [room.state_ids], room.events) == room.state_ids
    assert resolve(room.version, [room.state_ids] * 3, {}) == room.state_ids


@SINCE_V2
def test_a_rejected_auth_event_authorises_nothing(version: str) -> None:
    room = RoomBuilder(version, ALICE)
    left, right = room.fork(), room.fork()
    join = left.join(BOB)
    left.join(BOB, content={"displayname": "Bob"})
    left.join_rules(ALICE, "invite")
    states = [left.state_ids, right.state_ids]
    # The change of name needs the join, which is looked up among its auth events unless it was rejected.
    assert member(BOB) in resolve(room.version, states, room.events)
    assert member(BOB) not in resolve(room.version, states, room.events, rejected={join.event_id})


def test_v1_prefers_depth_and_then_the_lesser_hash() -> None:
    room = room_with_moderator("1")
    left, right = room.fork(), room.fork()
    left.topic(ALICE, "Deep", depth=50)
    right.topic(ALICE, "Shallow", depth=49)
    assert merge(left, right).state_events[TOPIC].content["topic"] == "Deep"


@pytest.mark.parametrize(("bobs", "charlies", "expected"), [(50, 51, {BOB: 0}), (51, 50, {BOB: 100, CHARLIE: 100})])
def test_v1_applies_power_levels_in_order_of_depth(bobs: int, charlies: int, expected: dict[str, int]) -> None:
    room = RoomBuilder("1", ALICE)
    room.join(BOB)
    room.power_levels(ALICE, {BOB: 100})
    left, right = room.fork(), room.fork()
    left.power_levels(BOB, {BOB: 0}, depth=bobs)
    right.power_levels(BOB, {CHARLIE: 100}, depth=charlies)
    # Whichever comes second is not allowed by the first: Bob has no power left, or may not demote Charlie, his equal.
    assert merge(left, right).state_events[POWER_LEVELS].content["users"] == {ALICE: 100, **expected}


def test_v1_stops_at_the_first_power_levels_that_are_not_allowed() -> None:
    room = RoomBuilder("1", ALICE)
    room.join(BOB)
    room.power_levels(ALICE, {BOB: 50})
    branches = [room.fork(), room.fork(), room.fork()]
    first = branches[0].power_levels(ALICE, {BOB: 0}, depth=50)
    branches[1].power_levels(BOB, {CHARLIE: 10}, depth=51)
    branches[2].power_levels(ALICE, {CHARLIE: 20}, depth=52)
    assert merge(*branches).state_ids[POWER_LEVELS] == first.event_id


def sha1_of(event: Event) -> str:
    return sha1(event.event_id.encode()).hexdigest()


def test_v1_breaks_ties_of_depth_by_the_hash_of_the_id() -> None:
    room = room_with_moderator("1")
    # Several rounds with ids of their own, since one could be right by chance.
    for number in range(6):
        left, right = room.fork(), room.fork()
        topics = [left.topic(ALICE, f"{number}"), right.topic(ALICE, f"{number}")]
        levels = [left.power_levels(ALICE, {CHARLIE: number}), right.power_levels(ALICE, {CHARLIE: 10 + number})]
        merged = merge(left, right)
        assert merged.state_events[TOPIC] is min(topics, key=sha1_of)
        # Both are allowed one after the other, in descending order; so the least is applied last.
        assert merged.state_events[POWER_LEVELS] is min(levels, key=sha1_of)


@SINCE_V2
def test_what_happened_on_the_way_to_a_state_is_part_of_the_conflict(version: str) -> None:
    room = room_with_moderator(version)
    left, right = room.fork(), room.fork()
    right.topic(BOB, "Mine")
    # Afterwards Bob is back, but only the auth difference tells that there was a ban.
    left.ban(ALICE, BOB)
    left.kick(ALICE, BOB)
    left.join(BOB)
    merged = merge(left, right)
    assert merged.state_ids[member(BOB)] == left.state_ids[member(BOB)]
    assert merged.state_events[TOPIC].content["topic"] == "Before"


@ALL
def test_a_thousand_conflicting_events_resolve_within_a_second(version: str) -> None:
    room = room_with_moderator(version)
    left, right = room.fork(), room.fork()
    for number in range(250):
        left.join(f"@user{number}:x", at=number)
        right.join(f"@user{number}:x", at=number)
        left.ban(ALICE, f"@user{number}:x")
        right.kick(BOB, f"@user{number}:x")
    started = time.process_time()
    resolved = resolve(room.version, [left.state_ids, right.state_ids], room.events)
    assert time.process_time() - started < 1
    kept = {room.events[resolved[member(f"@user{number}:x")]].content["membership"] for number in range(250)}
    assert kept <= {"ban", "leave"}
