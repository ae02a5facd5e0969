"""What is an event at all: members, lengths, ranges and sizes in each room version (A10, A19)."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.protocol import canonical_json
from homeserver.protocol.errors import BadJson, TooLarge
from homeserver.protocol.event_format import MAX_EVENT_BYTES, check_format, parse_event
from homeserver.protocol.events import Event
from homeserver.protocol.room_versions import V1, V3, V4, V6, V11, V12, RoomVersion
from tests.protocol.furnished_room import ALL_VERSIONS
from tests.protocol.json_values import legacy_objects, legacy_values

GONE = object()


def reference(version: RoomVersion, letter: str = "e") -> Any:
    return [f"${letter}:a.example", {"sha256": "x"}] if version.has_event_ids_in_pdus else "$" + letter * 43


def pdu_of(version: RoomVersion, **members: Any) -> dict[str, Any]:
    """A well-formed PDU with these members changed, or removed where they are GONE."""
    pdu: dict[str, Any] = {
        "type": "m.room.message",
        "content": {"body": "hello"},
        "sender": "@alice:a.example",
        "room_id": "!" + "r" * 43 if version.room_id_is_create_hash else "!r:a.example",
        "depth": 12,
        "origin_server_ts": 1_700_000_000_000,
        "prev_events": [reference(version)],
        "auth_events": [reference(version, "a"), reference(version, "b")],
        "hashes": {"sha256": "x"},
        "signatures": {"a.example": {"ed25519:1": "x"}},
    }
    if version.has_event_ids_in_pdus:
        pdu["event_id"] = "$x:a.example"
    return {name: value for name, value in {**pdu, **members}.items() if value is not GONE}


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_well_formed_events_are_parsed(version: RoomVersion) -> None:
    pdu = pdu_of(version, state_key="key", unsigned={"age": 5})
    event = parse_event(pdu, version)
    assert event.key == ("m.room.message", "key")
    assert event.prev_events == ["$e:a.example" if version.has_event_ids_in_pdus else "$" + "e" * 43]
    assert len(event.auth_events) == 2
    assert "unsigned" not in event.pdu
    assert "unsigned" in pdu


REQUIRED = ["type", "content", "sender", "room_id", "depth", "origin_server_ts", "prev_events", "auth_events"]


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
@pytest.mark.parametrize("name", [*REQUIRED, "hashes", "signatures"])
def test_required_members_may_not_be_missing_or_of_another_type(version: RoomVersion, name: str) -> None:
    for value in (
        GONE,
        None,
        1.5,
        True,
        "x" if name not in ("type",) else 5,
        [1],
        {"a": 1} if name != "content" else [],
    ):
        if name == "hashes" and isinstance(value, dict):
            continue
        with pytest.raises(BadJson):
            check_format(pdu_of(version, **{name: value}), version)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
@pytest.mark.parametrize("state_key", [None, 5, ["x"], {}])
def test_state_key_must_be_a_string_if_it_is_there(version: RoomVersion, state_key: Any) -> None:
    with pytest.raises(BadJson):
        check_format(pdu_of(version, state_key=state_key), version)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
@pytest.mark.parametrize("depth", [-1, 2**53, 2**63 - 1, 2**63, 1.0, "5", True, None])
def test_A10_depth_outside_of_its_range_is_refused(version: RoomVersion, depth: Any) -> None:
    with pytest.raises(BadJson):
        check_format(pdu_of(version, depth=depth), version)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
@pytest.mark.parametrize("depth", [0, 1, 2**53 - 1])
def test_A10_depth_at_the_edge_of_its_range_is_accepted(version: RoomVersion, depth: int) -> None:
    assert parse_event(pdu_of(version, depth=depth), version).depth == depth


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
@pytest.mark.parametrize("timestamp", [2**53, -(2**53), 2**63, 1.0, "5", None])
def test_A10_timestamp_outside_of_its_range_is_refused(version: RoomVersion, timestamp: Any) -> None:
    with pytest.raises(BadJson):
        check_format(pdu_of(version, origin_server_ts=timestamp), version)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
@pytest.mark.parametrize("member", ["content", "hashes", "prev_state", "com.example"])
def test_A10_integers_anywhere_in_the_pdu_are_in_range(version: RoomVersion, member: str) -> None:
    too_big = 2**53 if version.strict_canonical_json else 2**63
    for value in (too_big, -too_big, [[{"a": too_big}]]):
        with pytest.raises(BadJson):
            check_format(pdu_of(version, **{member: {"n": value}}), version)
    check_format(pdu_of(version, **{member: {"n": too_big - 1}}), version)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_floats_are_refused_since_v6(version: RoomVersion) -> None:
    pdu = pdu_of(version, content={"n": 1.5})
    if version.strict_canonical_json:
        with pytest.raises(BadJson):
            check_format(pdu, version)
    else:
        assert parse_event(pdu, version).pdu["hashes"] == {"sha256": "x"}


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_D06_deep_nesting_is_refused(version: RoomVersion) -> None:
    deep: Any = 0
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(BadJson):
        parse_event(pdu_of(version, content={"deep": deep}), version)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
@pytest.mark.parametrize(("name", "most"), [("prev_events", 20), ("auth_events", 10)])
def test_A11_references_are_limited(version: RoomVersion, name: str, most: int) -> None:
    check_format(pdu_of(version, **{name: [reference(version)] * most}), version)
    check_format(pdu_of(version, **{name: []}), version)
    with pytest.raises(BadJson):
        check_format(pdu_of(version, **{name: [reference(version)] * (most + 1)}), version)


WRONG_REFERENCES: dict[str, list[Any]] = {
    "1": ["$x:a.example", ["$x:a.example"], ["$x", {}], ["x:a.example", {}], ["$x:a.example", {"sha256": 5}]],
    "3": ["", "$x", "$" + "a" * 42, "$" + "-" * 43, "e" * 44, 5, ["$" + "e" * 43, {}], None],
    "4": ["", "$x", "$" + "a" * 44, "$" + "/" * 43, "e" * 44, 5, ["$" + "e" * 43, {}], None],
}


@pytest.mark.parametrize("version", [V1, V3, V4, V12], ids=str)
@pytest.mark.parametrize("name", ["prev_events", "auth_events"])
def test_references_have_the_form_of_the_room_version(version: RoomVersion, name: str) -> None:
    for wrong in WRONG_REFERENCES.get(version.identifier, WRONG_REFERENCES["4"]):
        with pytest.raises(BadJson):
            check_format(pdu_of(version, **{name: [wrong]}), version)


@pytest.mark.parametrize("event_id", [GONE, 5, "x", "$x", "x:a.example", "$x:a b", "$\0:a.example"])
def test_v1_events_say_their_id(event_id: Any) -> None:
    with pytest.raises(BadJson):
        check_format(pdu_of(V1, event_id=event_id), V1)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
@pytest.mark.parametrize("room_id", ["", "!", "r:a.example", "!r", "!r:", "!r:a b", "$" + "r" * 43])
def test_room_id_has_the_form_of_the_room_version(version: RoomVersion, room_id: str) -> None:
    with pytest.raises(BadJson):
        check_format(pdu_of(version, room_id=room_id), version)
    other = "!r:a.example" if version.room_id_is_create_hash else "!" + "r" * 43
    with pytest.raises(BadJson):
        check_format(pdu_of(version, room_id=other), version)


def test_A02_only_create_events_of_v12_name_no_room() -> None:
    create = parse_event(pdu_of(V12, type="m.room.create", state_key="", room_id=GONE), V12)
    assert create.room_id == "!" + create.event_id[1:]
    with pytest.raises(BadJson):
        check_format(pdu_of(V11, type="m.room.create", state_key="", room_id=GONE), V11)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
@pytest.mark.parametrize("sender", ["alice", "@alice", "@alice:", "#a:a.example", "@a\0:a.example", "@a:a b"])
def test_sender_is_a_user_id(version: RoomVersion, sender: str) -> None:
    with pytest.raises(BadJson):
        check_format(pdu_of(version, sender=sender), version)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
@pytest.mark.parametrize(
    ("name", "before", "after"), [("type", "", ""), ("state_key", "", ""), ("sender", "@", ":a.example")]
)
def test_A19_ids_are_limited_to_255_bytes(version: RoomVersion, name: str, before: str, after: str) -> None:
    room = 255 - len(before + after)
    for filler in ("x" * room, "ü" * (room // 2)):
        check_format(pdu_of(version, **{name: before + filler + after}), version)
    for filler in ("x" * (room + 1), "ü" * (room // 2 + 1)):
        with pytest.raises(TooLarge):
            check_format(pdu_of(version, **{name: before + filler + after}), version)


def test_A19_room_and_event_ids_are_limited_to_255_bytes() -> None:
    check_format(pdu_of(V1, room_id="!" + "r" * 244 + ":a.example", event_id="$" + "e" * 244 + ":a.example"), V1)
    for changed in ({"room_id": "!" + "r" * 245 + ":a.example"}, {"event_id": "$" + "e" * 245 + ":a.example"}):
        with pytest.raises(TooLarge):
            check_format(pdu_of(V1, **changed), V1)
    with pytest.raises(BadJson):
        check_format(pdu_of(V1, prev_events=[["$" + "e" * 245 + ":a.example", {}]]), V1)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=str)
def test_A19_event_is_limited_to_65536_bytes_of_canonical_json(version: RoomVersion) -> None:
    overhead = len(canonical_json.encode(pdu_of(version, content={"body": ""})))
    for length, fits in ((MAX_EVENT_BYTES - 1, True), (MAX_EVENT_BYTES, True), (MAX_EVENT_BYTES + 1, False)):
        pdu = pdu_of(version, content={"body": "x" * (length - overhead)}, unsigned={"not": "counted" * 50})
        if fits:
            assert len(canonical_json.encode(parse_event(pdu, version).pdu)) <= length
        else:
            with pytest.raises(TooLarge):
                parse_event(pdu, version)


def test_A19_size_is_of_bytes_not_of_characters() -> None:
    overhead = len(canonical_json.encode(pdu_of(V12, content={"body": ""})))
    with pytest.raises(TooLarge):
        parse_event(pdu_of(V12, content={"body": "ü" * ((MAX_EVENT_BYTES - overhead) // 2 + 1)}), V12)


@pytest.mark.parametrize("name", ["type", "state_key"])
def test_D06_nul_is_refused_in_members_that_have_columns_but_not_in_content(name: str) -> None:
    with pytest.raises(BadJson):
        check_format(pdu_of(V12, **{name: "a\0b"}), V12)
    check_format(pdu_of(V12, content={"body": "a\0b"}), V12)


def test_redacts_must_be_text_where_it_is_a_top_level_member() -> None:
    with pytest.raises(BadJson):
        check_format(pdu_of(V6, redacts=["$x"]), V6)
    check_format(pdu_of(V11, redacts=["$x"]), V11)


@pytest.mark.parametrize("signatures", [{"a": []}, {"a": {"k": 5}}, [], "x"])
def test_signatures_are_strings_by_server_and_key(signatures: Any) -> None:
    with pytest.raises(BadJson):
        check_format(pdu_of(V12, signatures=signatures), V12)


@given(
    st.sampled_from(ALL_VERSIONS),
    st.dictionaries(
        st.sampled_from([*REQUIRED, "hashes", "signatures", "state_key", "event_id", "redacts", "unsigned"]),
        legacy_values,
        max_size=2,
    ),
    legacy_objects,
)
def test_A15_parsing_raises_nothing_but_bad_json_or_too_large(
    version: RoomVersion, changed: dict[str, Any], content: dict[str, Any]
) -> None:
    with contextlib.suppress(BadJson, TooLarge):
        event = parse_event(pdu_of(version, **{"content": content, **changed}), version)
        assert isinstance(event, Event)
        assert event.event_id[0] == "$"
        assert event.room_id[0] == "!"


@pytest.mark.parametrize("pdu", [None, [], "x", 5, {}, [{}]])
def test_A15_what_is_no_event_is_refused(pdu: Any) -> None:
    for version in ALL_VERSIONS:
        with pytest.raises(BadJson):
            parse_event(pdu, version)
