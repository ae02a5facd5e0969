"""Where the page of each room version has a rule: numbers read from the pages, not from the code under test."""

from __future__ import annotations

from homeserver.protocol.room_versions import RoomVersion


def number_of(rule: str, version: RoomVersion) -> str | None:
    """The number of a rule ("join.3" is the third of "If `membership` is `join`"), None where the version lacks it."""
    section, _, rest = rule.partition(".")
    numbers = _SECTIONS[section]
    start = numbers[_era(int(version.identifier), numbers)]
    if start is None:
        return None
    return f"{start}.{rest}" if rest else start


def _era(version: int, numbers: dict[int, str | None]) -> int:
    return max(first for first in numbers if first <= version)


# Section: {first version: its number}. A later version keeps the number until the next entry.
_SECTIONS: dict[str, dict[int, str | None]] = {
    "create": {1: "1"},
    "create_creator": {1: "1.4", 11: None},
    "create_additional": {1: None, 12: "1.4"},
    "create_allow": {1: "1.5", 11: "1.4", 12: "1.5"},
    "room_id": {1: None, 12: "2"},
    "auth_events": {1: "2", 12: "3"},
    "federate": {1: "3", 12: "4"},
    "aliases": {1: "4", 6: None},
    "member": {1: "5", 6: "4", 12: "5"},
    "authoriser": {1: None, 8: "4.2", 12: "5.2"},
    "join": {1: "5.2", 6: "4.2", 8: "4.3", 12: "5.3"},
    "restricted": {1: None, 8: "4.3.5", 12: "5.3.5"},
    "knock_restricted": {1: None, 10: "4.3.5", 12: "5.3.5"},
    "join_public": {1: "5.2.5", 6: "4.2.5", 8: "4.3.6", 12: "5.3.6"},
    "join_otherwise": {1: "5.2.6", 6: "4.2.6", 8: "4.3.7", 12: "5.3.7"},
    "invite": {1: "5.3", 6: "4.3", 8: "4.4", 12: "5.4"},
    "leave": {1: "5.4", 6: "4.4", 8: "4.5", 12: "5.5"},
    "ban": {1: "5.5", 6: "4.5", 8: "4.6", 12: "5.6"},
    "knock": {1: None, 7: "4.6", 8: "4.7", 12: "5.7"},
    "unknown": {1: "5.6", 6: "4.6", 7: "4.7", 8: "4.8", 12: "5.8"},
    "joined": {1: "6", 6: "5", 12: "6"},
    "third_party": {1: "7", 6: "6", 12: "7"},
    "required": {1: "8", 6: "7", 12: "8"},
    "user_state": {1: "9", 6: "8", 12: "9"},
    "levels_properties": {1: None, 10: "9.1", 12: "10.1"},
    "levels_maps": {1: None, 10: "9.2", 12: "10.2"},
    "levels_users": {1: "10.1", 6: "9.1", 10: "9.3", 12: "10.3"},
    "levels_creators": {1: None, 12: "10.4"},
    "levels_first": {1: "10.2", 6: "9.2", 10: "9.4", 12: "10.5"},
    "levels_changed": {1: "10.3", 6: "9.3", 10: "9.5", 12: "10.6"},
    "levels_old_events": {1: "10.4", 6: "9.4", 10: "9.6", 12: "10.7"},
    "levels_new_events": {1: "10.5", 6: "9.5", 10: "9.7", 12: "10.8"},
    "levels_old_notifications": {1: None, 6: "9.4", 10: "9.6", 12: "10.7"},
    "levels_new_notifications": {1: None, 6: "9.5", 10: "9.7", 12: "10.8"},
    "levels_old_users": {1: "10.6", 6: "9.6", 10: "9.8", 12: "10.9"},
    "levels_new_users": {1: "10.7", 6: "9.7", 10: "9.9", 12: "10.10"},
    # The page of v12 numbers two rules "10"; this is the second.
    "levels_allow": {1: "10.8", 6: "9.8", 10: "9.10", 12: "10.11"},
    "redaction": {1: "11", 3: None},
    "allow": {1: "12", 3: "11", 6: "10", 12: "11"},
}
