"""Power levels: defaults (A08), creators of v12 (A03), and values of the old room versions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.protocol.power_levels import INFINITE, PowerLevels, parse_level, power_levels_of
from homeserver.protocol.room_versions import V6, V9, V10, V12, RoomVersion
from tests.protocol.furnished_room import ADMIN, ALICE, ALL_VERSIONS, BOB, CAROL, Room
from tests.protocol.json_values import legacy_objects


def _of(room: Room, content: dict[str, Any] | None) -> PowerLevels:
    event = None if content is None else room.event("m.room.power_levels", content, "", sender=ALICE)
    return power_levels_of(room.create, event)


def _numbers(levels: PowerLevels) -> list[int]:
    return [levels.ban, levels.kick, levels.redact, levels.invite, levels.notifications("room")]


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_A08_defaults_without_a_power_levels_event(version: RoomVersion) -> None:
    levels = _of(Room(version), None)
    assert _numbers(levels) == [50, 50, 50, 0, 50]
    assert (levels.users_default, levels.events_default, levels.state_default) == (0, 0, 50)
    assert levels.needed_for("m.room.name", True) == 50
    assert levels.needed_for("m.room.message", False) == 0
    assert levels.of(BOB) == 0
    assert levels.of(ALICE) == (INFINITE if version.privileged_creators else 100)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_A08_defaults_with_an_empty_power_levels_event(version: RoomVersion) -> None:
    levels = _of(Room(version), {})
    assert _numbers(levels) == [50, 50, 50, 0, 50]
    assert (levels.users_default, levels.events_default, levels.state_default) == (0, 0, 50)
    assert levels.of(ALICE) == (INFINITE if version.privileged_creators else 0)


def test_A08_defaults_without_any_state() -> None:
    levels = power_levels_of(None, None)
    assert _numbers(levels) == [50, 50, 50, 0, 50]
    assert levels.of(ALICE) == 0


def test_creator_before_v11_is_whom_the_content_names() -> None:
    room = Room(V10, topic="x")
    room.create.content["creator"] = BOB
    assert PowerLevels(room.create, None).of(BOB) == 100
    assert PowerLevels(room.create, None).of(ALICE) == 0
    room.create.content["creator"] = ["not", "text"]
    assert PowerLevels(room.create, None).of(ALICE) == 0


def test_levels_are_read_from_the_event() -> None:
    content = {
        "ban": 1,
        "kick": 2,
        "redact": 3,
        "invite": 4,
        "notifications": {"room": 5},
        "users_default": 6,
        "events_default": 7,
        "state_default": 8,
        "events": {"m.room.name": 9, "m.room.message": -3},
        "users": {ADMIN: 100, BOB: -1},
    }
    levels = _of(Room(V12), content)
    assert _numbers(levels) == [1, 2, 3, 4, 5]
    assert [levels.of(user) for user in (ADMIN, BOB, CAROL)] == [100, -1, 6]
    assert levels.needed_for("m.room.name", True) == 9
    assert levels.needed_for("m.room.message", False) == -3
    assert (levels.needed_for("x", True), levels.needed_for("x", False)) == (8, 7)
    assert levels.may_send(ADMIN, "m.room.name", True)
    assert not levels.may_send(CAROL, "m.room.name", True)
    assert levels.users == {ADMIN: 100, BOB: -1}


def test_A03_creators_of_v12_outrank_everybody() -> None:
    room = Room(V12, additional_creators=[BOB, 5, CAROL])
    levels = _of(room, {"users": {ADMIN: 2**53 - 1, ALICE: 0}})
    assert [levels.of(user) for user in (ALICE, BOB, CAROL)] == [INFINITE] * 3
    assert levels.of(ALICE) > levels.of(ADMIN)
    assert levels.creators == {ALICE, BOB, CAROL}
    assert levels.needed_for("m.room.tombstone", True) < INFINITE


def test_A03_additional_creators_mean_nothing_before_v12() -> None:
    room = Room(V10, additional_creators=[BOB])
    assert _of(room, {}).of(BOB) == 0
    assert _of(room, {}).creators == frozenset()


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (5, 5),
        ("100", 100),
        ("000100", 100),
        ("+100", 100),
        (" -100 ", -100),
        ("\t7\n", 7),
        (51146.98, 51146),
        (-1.9, -1),
    ],
)
def test_old_versions_accept_strings_and_floats(value: Any, level: int) -> None:
    assert parse_level(value, integers_only=False) == level
    assert parse_level(value, integers_only=True) == (value if type(value) is int else None)


@pytest.mark.parametrize(
    "value",
    [
        *["", " ", "1.5", "1e3", "0x10", "1 0", "++1", "+-1", "٣", "1_000", "ten", "9" * 101],
        *[None, True, [], {}, float("nan"), float("inf")],
    ],
)
def test_other_values_are_no_levels(value: Any) -> None:
    assert parse_level(value, integers_only=False) is None
    assert parse_level(value, integers_only=True) is None


def test_string_levels_count_until_v9() -> None:
    content = {"ban": "60", "users": {BOB: "70"}, "events": {"m.room.name": "80"}, "notifications": {"room": "90"}}
    for version in (V6, V9):
        levels = _of(Room(version), content)
        assert (levels.ban, levels.of(BOB), levels.needed_for("m.room.name", True)) == (60, 70, 80)
        assert levels.notifications("room") == 90
    levels = _of(Room(V10), content)
    assert (levels.ban, levels.of(BOB), levels.needed_for("m.room.name", True)) == (50, 0, 50)


def test_levels_are_computed_once_for_two_events() -> None:
    room = Room(V12)
    event = room.event("m.room.power_levels", {"ban": 7}, "")
    assert power_levels_of(room.create, event) is power_levels_of(room.create, event)
    assert power_levels_of(room.create, None) is power_levels_of(room.create, None)
    other = Room(V12, additional_creators=[BOB])
    assert power_levels_of(other.create, event).of(BOB) == INFINITE
    assert power_levels_of(room.create, event).of(BOB) == 0


def test_levels_of_two_events_that_share_an_id_are_not_confused() -> None:
    room = Room(Room(V6).version)
    low = room.event("m.room.power_levels", {"ban": 1}, "")
    high = room.event("m.room.power_levels", {"ban": 99}, "")
    high.event_id = low.event_id
    assert (power_levels_of(room.create, low).ban, power_levels_of(room.create, high).ban) == (1, 99)


@given(st.sampled_from(ALL_VERSIONS), legacy_objects, legacy_objects)
def test_A06_no_content_makes_levels_raise(version: RoomVersion, levels: dict[str, Any], users: dict[str, Any]) -> None:
    computed = PowerLevels(Room(version, **{"additional_creators": users}).create, None)
    assert computed.of(BOB) == 0
    content = {**levels, "users": users, "events": levels, "notifications": users, "ban": levels.get("x")}
    computed = _of(Room(version), content)
    assert all(type(number) is int for number in (*_numbers(computed), computed.needed_for("x", True)))
