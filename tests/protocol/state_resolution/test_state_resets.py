"""A01: the two scenarios of state resets from which v2 suffers and v2.1 does not (MSC4297, problems A and B).

In both, one side got an outdated state (as a wrong answer to /state gives), though the auth chains of all agree.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from homeserver.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.protocol.state_resolution import resolve
from tests.support.room_builder import RoomBuilder

ALICE, BOB, CHARLIE = "@alice:here", "@bob:there", "@charlie:elsewhere"
JOIN_RULES = ("m.room.join_rules", "")
POWER_LEVELS = ("m.room.power_levels", "")

# The same room version 11 with the revised algorithm, so that the algorithm alone makes the difference.
V11 = ROOM_VERSIONS["11"]
V11_REVISED = replace(V11, state_resolution="v2.1")


def join_rules_after_their_author_left(version: RoomVersion) -> tuple[object, object]:
    room = RoomBuilder(version, ALICE, join_rule="invite")
    outdated = room.state_events[JOIN_RULES].event_id
    newest = room.join_rules(ALICE, "public")
    room.join(BOB)
    room.leave(ALICE)
    right, wrong = room.fork(), room.fork()
    right.join(BOB, content={"displayname": "Bob"})
    resolved = resolve(version, [right.state_ids, {**wrong.state_ids, JOIN_RULES: outdated}], room.events)
    return resolved.get(JOIN_RULES), newest.event_id


def test_A01_v2_loses_join_rules_when_their_author_has_left() -> None:
    resolved, _ = join_rules_after_their_author_left(V11)
    assert resolved is None


@pytest.mark.parametrize("version", [V11_REVISED, ROOM_VERSIONS["12"]])
def test_A01_v2_1_keeps_the_newest_join_rules_when_their_author_has_left(version: RoomVersion) -> None:
    resolved, newest = join_rules_after_their_author_left(version)
    assert resolved == newest


def promotions_that_depend_on_one_another(version: RoomVersion) -> tuple[object, object, object]:
    room = RoomBuilder(version, ALICE)
    room.join(BOB)
    room.join(CHARLIE)
    outdated = room.state_events[POWER_LEVELS]
    room.power_levels(ALICE, {BOB: 100})
    newest = room.power_levels(BOB, {CHARLIE: 50})
    right, wrong = room.fork(), room.fork()
    right.topic(CHARLIE, "One")
    wrong.topic(CHARLIE, "Two")
    states = [right.state_ids, {**wrong.state_ids, POWER_LEVELS: outdated.event_id}]
    return resolve(version, states, room.events)[POWER_LEVELS], outdated.event_id, newest.event_id


def test_A01_v2_forgets_promotions_that_depend_on_one_another() -> None:
    resolved, outdated, _ = promotions_that_depend_on_one_another(V11)
    assert resolved == outdated


@pytest.mark.parametrize("version", [V11_REVISED, ROOM_VERSIONS["12"]])
def test_A01_v2_1_keeps_promotions_that_depend_on_one_another(version: RoomVersion) -> None:
    resolved, _, newest = promotions_that_depend_on_one_another(version)
    assert resolved == newest
