"""Relations: what a content claims, which edits count, where threads may start, which annotations are the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.protocol.events import Event
from homeserver.protocol.relations import (
    NO_RELATION,
    Relation,
    annotation_key,
    edit_order,
    edited_content,
    is_valid_edit,
    may_be_annotated,
    may_be_thread_root,
    relation_of,
)
from homeserver.protocol.room_versions import ROOM_VERSIONS


def event(event_id: str = "$original", **changes: Any) -> Event:
    pdu = {
        "type": "m.room.message",
        "sender": "@a:x",
        "room_id": "!r:x",
        "content": {"body": "hi"},
        "depth": 1,
        "origin_server_ts": 1,
        "prev_events": [],
        "auth_events": [],
        **changes,
    }
    return Event(pdu, ROOM_VERSIONS["11"], event_id)


REPLACES = {"rel_type": "m.replace", "event_id": "$original"}
EDIT = {"body": "* ho", "m.new_content": {"body": "ho"}, "m.relates_to": REPLACES}


def relates(**relates_to: Any) -> dict[str, Any]:
    return {"m.relates_to": relates_to}


def test_relations_are_read_from_content() -> None:
    assert relation_of(relates(rel_type="m.annotation", event_id="$e", key="👍")) == Relation(
        "m.annotation", "$e", "👍"
    )
    threaded = {
        "rel_type": "m.thread",
        "event_id": "$root",
        "is_falling_back": True,
        "m.in_reply_to": {"event_id": "$r"},
    }
    relation = relation_of({"m.relates_to": threaded})
    assert relation == Relation("m.thread", "$root", None, "$r", True)
    assert relation.parent == "$root"
    reply = relation_of({"m.relates_to": {"m.in_reply_to": {"event_id": "$r"}}})
    assert reply == Relation(in_reply_to="$r")
    assert reply.parent == "$r"


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"m.relates_to": None},
        {"m.relates_to": []},
        relates(rel_type="m.thread"),
        relates(event_id="$e"),
        relates(rel_type=1, event_id="$e"),
        relates(rel_type="m.thread", event_id={}),
        {"m.relates_to": {"m.in_reply_to": "$e"}},
        {"m.relates_to": {"m.in_reply_to": {"event_id": 1}}},
    ],
)
def test_what_does_not_fit_the_schema_is_no_relation(content: dict[str, Any]) -> None:
    assert relation_of(content) == NO_RELATION


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["rel_type", "event_id", "key", "m.in_reply_to", "m.relates_to"]), inner)
    ),
    max_leaves=6,
)


@given(json_values)
def test_no_content_breaks_the_reader(value: Any) -> None:
    content = {"m.relates_to": value}
    relation = relation_of(content)
    assert (relation.rel_type is None) == (relation.event_id is None)
    assert may_be_thread_root(content) in (True, False)
    annotation_key("m.reaction", "@a:x", content)


def test_an_edit_of_ones_own_message_is_valid() -> None:
    assert is_valid_edit(event("$edit", content=EDIT), event())
    encrypted = {"type": "m.room.encrypted", "content": {"m.relates_to": REPLACES}}
    assert is_valid_edit(event("$edit", **encrypted), event(type="m.room.encrypted"))


@pytest.mark.parametrize(
    ("edit", "original"),
    [
        ({"room_id": "!other:x"}, {}),
        ({"sender": "@b:x"}, {}),
        ({"type": "m.sticker"}, {}),
        ({"state_key": ""}, {}),
        ({"state_key": ""}, {"state_key": ""}),
        ({}, {"state_key": ""}),
        ({}, {"content": EDIT}),
        ({"content": {"m.relates_to": REPLACES}}, {}),
        ({"content": {"m.relates_to": REPLACES, "m.new_content": "ho"}}, {}),
        ({"content": {**EDIT, "m.relates_to": {"rel_type": "m.replace", "event_id": "$other"}}}, {}),
        ({"content": {**EDIT, "m.relates_to": {"rel_type": "m.reference", "event_id": "$original"}}}, {}),
        ({"content": {}}, {}),
    ],
)
def test_an_edit_that_breaks_a_rule_is_ignored(edit: dict[str, Any], original: dict[str, Any]) -> None:
    assert not is_valid_edit(event("$edit", **{"content": EDIT, **edit}), event(**original))


def test_the_most_recent_edit_is_latest_by_time_then_by_id() -> None:
    edits = [event("$b"), event("$a"), event("$c", origin_server_ts=0)]
    assert max(edits, key=edit_order).event_id == "$b"


def test_an_edit_overwrites_everything_but_the_relation() -> None:
    original = {"body": "I like cake", "formatted_body": "x", **relates(rel_type="m.thread", event_id="$root")}
    edit = {"m.new_content": {"body": "I like tea", "m.relates_to": {}}, "m.relates_to": REPLACES}
    expected = {"body": "I like tea", **relates(rel_type="m.thread", event_id="$root")}
    assert edited_content(original, edit) == expected
    assert edited_content({"body": "x"}, {"m.new_content": {"body": "y"}}) == {"body": "y"}


def test_threads_start_only_at_events_without_a_relation() -> None:
    assert may_be_thread_root({"body": "x"})
    assert may_be_thread_root({"m.relates_to": {"m.in_reply_to": {"event_id": "$e"}}})
    assert not may_be_thread_root(relates(rel_type="m.thread", event_id="$root"))
    assert not may_be_thread_root(relates(rel_type="m.replace", event_id="$e"))


def test_edits_and_annotations_cannot_be_annotated() -> None:
    assert may_be_annotated({})
    assert may_be_annotated(relates(rel_type="m.thread", event_id="$root"))
    assert not may_be_annotated(relates(rel_type="m.annotation", event_id="$e", key="👍"))
    assert not may_be_annotated(EDIT)


def test_annotations_are_the_same_by_target_type_key_and_sender() -> None:
    content = relates(rel_type="m.annotation", event_id="$e", key="👍")
    key = annotation_key("m.reaction", "@a:x", content)
    assert key == ("$e", "m.reaction", "👍", "@a:x")
    assert annotation_key("m.reaction", "@a:x", relates(rel_type="m.annotation", event_id="$e")) is None
    assert annotation_key("m.reaction", "@a:x", EDIT) is None
