"""The redaction algorithm of each room version."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.protocol.authorization import may_redact
from homeserver.protocol.events import Event
from homeserver.protocol.hashes import event_id_of, reference_bytes
from homeserver.protocol.power_levels import power_levels_of
from homeserver.protocol.redaction import redact
from homeserver.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from tests.protocol.furnished_room import ADMIN, ALL_VERSIONS, BOB, CAROL, REMOTE, Room
from tests.protocol.json_values import canonical_objects, canonical_values

TOP_LEVEL = {
    "event_id",
    "type",
    "room_id",
    "sender",
    "state_key",
    "content",
    "hashes",
    "signatures",
    "depth",
    "prev_events",
    "prev_state",
    "auth_events",
    "origin",
    "origin_server_ts",
    "membership",
}
LEVELS = {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}


def kept_by(version: int) -> tuple[set[str], dict[str, set[str]]]:
    """What the pages say is kept: top-level keys, and content keys by type (m.room.create of v11 is apart)."""
    content = {
        "m.room.member": {"membership"},
        "m.room.create": {"creator"},
        "m.room.join_rules": {"join_rule"},
        "m.room.power_levels": set(LEVELS),
        "m.room.aliases": {"aliases"},
        "m.room.history_visibility": {"history_visibility"},
        "m.room.redaction": set(),
        "m.room.message": set(),
    }
    top_level = set(TOP_LEVEL)
    if version >= 6:
        content["m.room.aliases"] = set()
    if version >= 8:
        content["m.room.join_rules"] |= {"allow"}
    if version >= 9:
        content["m.room.member"] |= {"join_authorised_via_users_server"}
    if version >= 11:
        top_level -= {"origin", "membership", "prev_state"}
        content["m.room.power_levels"] |= {"invite"}
        content["m.room.redaction"] = {"redacts"}
        content["m.room.create"] |= {"room_version", "m.federate", "predecessor", "com.example"}
    return top_level, content


EVERY_KEY = (
    LEVELS
    | {"membership", "displayname", "join_authorised_via_users_server", "creator", "room_version", "m.federate"}
    | {"predecessor", "com.example", "join_rule", "allow", "aliases", "history_visibility", "redacts", "body", "invite"}
    | {"notifications"}
)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
@pytest.mark.parametrize("event_type", sorted(kept_by(1)[1]))
def test_redaction_keeps_what_the_page_says(version: RoomVersion, event_type: str) -> None:
    top_level, content = kept_by(int(version.identifier))
    pdu: dict[str, Any] = dict.fromkeys(TOP_LEVEL | {"unsigned", "redacts", "com.example", "age"}, "x")
    pdu = {**pdu, "type": event_type, "content": dict.fromkeys(EVERY_KEY, 1)}
    redacted = redact(pdu, version)
    assert set(redacted) == top_level
    expected = content[event_type]
    if event_type == "m.room.create" and int(version.identifier) >= 11:
        expected = EVERY_KEY
    assert set(redacted["content"]) == expected


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_redacted_third_party_invite_keeps_only_its_signed_part_since_v11(version: RoomVersion) -> None:
    signed = {"mxid": BOB, "token": "t", "signatures": {}}
    content = {"membership": "invite", "third_party_invite": {"display_name": "b...", "signed": signed}}
    redacted = redact({"type": "m.room.member", "content": content}, version)
    expected: dict[str, Any] = {"membership": "invite"}
    if int(version.identifier) >= 11:
        expected["third_party_invite"] = {"signed": signed}
    assert redacted["content"] == expected
    malformed: list[Any] = [None, [], {}, {"display_name": "x"}]
    for invite in malformed:
        broken: dict[str, Any] = {"membership": "invite", "third_party_invite": invite}
        assert redact({"type": "m.room.member", "content": broken}, version)["content"] == {"membership": "invite"}


versions = st.sampled_from(ALL_VERSIONS)
pdus = st.builds(
    lambda known, other, type_, content: {**other, **known, "type": type_, "content": content},
    st.dictionaries(st.sampled_from(sorted(TOP_LEVEL | {"unsigned", "redacts"})), canonical_values),
    canonical_objects,
    st.sampled_from([*sorted(kept_by(1)[1]), "com.example"]),
    st.dictionaries(st.sampled_from(sorted(EVERY_KEY)), canonical_values) | canonical_values,
)


@given(pdus, versions)
def test_redaction_is_idempotent(pdu: dict[str, Any], version: RoomVersion) -> None:
    once = redact(pdu, version)
    assert redact(once, version) == once


@given(pdus, versions)
def test_redaction_keeps_only_allowed_keys_and_changes_none(pdu: dict[str, Any], version: RoomVersion) -> None:
    before = repr(pdu)
    redacted = redact(pdu, version)
    assert repr(pdu) == before
    top_level, _ = kept_by(int(version.identifier))
    assert set(redacted) <= top_level
    assert all(redacted[key] == pdu[key] for key in redacted if key != "content")
    if isinstance(pdu["content"], dict):
        for key, value in redacted["content"].items():
            assert value == pdu["content"][key] or key == "third_party_invite"
    else:
        assert redacted["content"] == {}


@given(pdus, versions)
def test_event_id_is_stable_under_redaction(pdu: dict[str, Any], version: RoomVersion) -> None:
    pdu = {**pdu, "event_id": "$x:y"}
    assert event_id_of(redact(pdu, version), version) == event_id_of(pdu, version)
    assert reference_bytes(redact(pdu, version), version) == reference_bytes(pdu, version)


def test_A09_members_of_a_redacted_event_do_not_leak_by_sharing() -> None:
    pdu = {"type": "m.room.message", "content": {"body": "secret"}, "unsigned": {"x": "secret"}}
    assert "secret" not in repr(redact(pdu, ROOM_VERSIONS["12"]))


# Whether a redaction takes effect


def _redaction(room: Room, sender: str, target: Event, **members: Any) -> Event:
    if room.version.redacts_in_content:
        return room.event("m.room.redaction", {"redacts": target.event_id}, sender=sender, **members)
    return room.event("m.room.redaction", {}, sender=sender, redacts=target.event_id, **members)


def _may(room: Room, redaction: Event, target: Event) -> bool:
    return may_redact(redaction, target, power_levels_of(room.create, room.state["m.room.power_levels", ""]))


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_A09_redaction_takes_effect_by_power_or_by_server(version: RoomVersion) -> None:
    room = Room.furnished(version)
    of_carol = room.event("m.room.message", {"body": "x"}, sender=CAROL)
    of_remote = room.event("m.room.message", {"body": "x"}, sender=REMOTE)
    assert _may(room, _redaction(room, ADMIN, of_remote), of_remote)
    assert _may(room, _redaction(room, CAROL, of_carol), of_carol)
    assert not _may(room, _redaction(room, CAROL, of_remote), of_remote)
    assert not _may(room, _redaction(room, REMOTE, of_carol), of_carol)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_A09_create_event_is_never_redacted(version: RoomVersion) -> None:
    room = Room.furnished(version)
    assert not _may(room, _redaction(room, ADMIN, room.create), room.create)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_A09_redaction_of_another_rooms_event_has_no_effect(version: RoomVersion) -> None:
    room = Room.furnished(version)
    other = "!" + "o" * 43 if version.room_id_is_create_hash else "!other:a.example"
    target = room.event("m.room.message", {"body": "x"}, sender=CAROL, room_id=other)
    assert not _may(room, _redaction(room, ADMIN, target), target)


def test_redaction_names_its_target_where_the_room_version_has_it() -> None:
    for version in ALL_VERSIONS:
        room = Room.furnished(version)
        target = room.event("m.room.message", {}, sender=CAROL)
        assert _redaction(room, CAROL, target).redacts == target.event_id
        misplaced = (
            room.event("m.room.redaction", {}, redacts=target.event_id)
            if version.redacts_in_content
            else room.event("m.room.redaction", {"redacts": target.event_id})
        )
        assert misplaced.redacts is None
        assert not _may(room, misplaced, target)
