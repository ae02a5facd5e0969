"""Each room version is the one before, except for what its page says: the table of the pages, by hand."""

from __future__ import annotations

from dataclasses import fields

import pytest

from homeserver.protocol.errors import UnsupportedRoomVersion
from homeserver.protocol.room_versions import DEFAULT_ROOM_VERSION, ROOM_VERSIONS, RoomVersion, get_room_version
from tests.protocol.furnished_room import ALL_VERSIONS

# What each page says to have changed, besides the identifier.
CHANGES: dict[str, set[str]] = {
    "2": {"state_resolution"},
    "3": {"event_id_format", "authorizes_redactions"},
    "4": {"event_id_format"},
    "5": {"enforces_key_validity"},
    "6": {"aliases_by_domain", "redaction", "checks_notification_levels", "strict_canonical_json"},
    "7": {"knock"},
    "8": {"restricted", "redaction"},
    "9": {"redaction"},
    "10": {"knock_restricted", "integer_power_levels"},
    "11": {"redaction", "redacts_in_content", "creator_is_sender"},
    "12": {"state_resolution", "room_id_is_create_hash", "privileged_creators", "create_in_auth_events"},
}


@pytest.mark.parametrize("identifier", CHANGES)
def test_version_differs_from_the_one_before_only_as_its_page_says(identifier: str) -> None:
    before, version = ROOM_VERSIONS[str(int(identifier) - 1)], ROOM_VERSIONS[identifier]
    changed = {
        field.name for field in fields(RoomVersion) if getattr(before, field.name) != getattr(version, field.name)
    }
    assert changed == CHANGES[identifier] | {"identifier"}


def test_versions_1_to_12_are_known_and_12_is_the_default_A01() -> None:
    assert list(ROOM_VERSIONS) == [str(number) for number in range(1, 13)]
    assert all(version.identifier == identifier for identifier, version in ROOM_VERSIONS.items())
    assert DEFAULT_ROOM_VERSION == "12"
    assert ROOM_VERSIONS[DEFAULT_ROOM_VERSION].state_resolution == "v2.1"


def test_state_resolution_of_each_version() -> None:
    algorithms = [version.state_resolution for version in ALL_VERSIONS]
    assert algorithms == ["v1"] + ["v2"] * 10 + ["v2.1"]


@pytest.mark.parametrize("identifier", ["", "0", "13", "org.example", "1 ", "x" * 1000])
def test_unknown_versions_are_refused(identifier: str) -> None:
    with pytest.raises(UnsupportedRoomVersion):
        get_room_version(identifier)


def test_known_version_is_found() -> None:
    assert get_room_version("9") is ROOM_VERSIONS["9"]
