"""Filters: what passes, what is refused, and which fields remain."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.protocol.errors import BadJson, InvalidParam, MatrixError
from homeserver.protocol.events import Event
from homeserver.protocol.filters import (
    DEFAULT_FILTER,
    DEFAULT_ROOM_EVENT_FILTER,
    only_fields,
    parse_filter,
    parse_room_event_filter,
)
from homeserver.protocol.room_versions import ROOM_VERSIONS


def event(type: str = "m.room.message", sender: str = "@a:x", room_id: str = "!r:x", **content: Any) -> Event:
    pdu = {
        "type": type,
        "sender": sender,
        "room_id": room_id,
        "content": content,
        "depth": 1,
        "origin_server_ts": 1,
        "prev_events": [],
        "auth_events": [],
    }
    return Event(pdu, ROOM_VERSIONS["11"], "$event")


def test_an_empty_filter_is_the_default_and_lets_everything_pass() -> None:
    assert parse_filter({}) == DEFAULT_FILTER
    assert parse_room_event_filter({}) == DEFAULT_ROOM_EVENT_FILTER
    assert DEFAULT_FILTER.event_format == "client"
    assert DEFAULT_FILTER.event_fields is None
    assert not DEFAULT_FILTER.room.include_leave
    assert not DEFAULT_FILTER.room.lazy_load_members
    assert DEFAULT_FILTER.presence.passes_all
    assert DEFAULT_FILTER.room.timeline.passes_all
    assert DEFAULT_FILTER.room.timeline.matches_event(event())
    assert DEFAULT_FILTER.room.timeline.matches_children([])


def test_the_filter_of_the_spec_is_understood() -> None:
    parsed = parse_filter(
        {
            "room": {
                "state": {"types": ["m.room.*"], "not_rooms": ["!726s6s6q:example.com"]},
                "timeline": {
                    "limit": 10,
                    "types": ["m.room.message"],
                    "not_rooms": ["!726s6s6q:example.com"],
                    "not_senders": ["@spam:example.com"],
                },
                "ephemeral": {"types": ["m.receipt", "m.typing"], "not_senders": ["@spam:example.com"]},
            },
            "presence": {"types": ["m.presence"], "not_senders": ["@alice:example.com"]},
            "event_format": "client",
            "event_fields": ["type", "content", "sender"],
        }
    )
    assert parsed.room.state.matches("m.room.topic", "@a:x")
    assert not parsed.room.state.matches("m.space.child", "@a:x")
    assert not parsed.room.state.allows_room("!726s6s6q:example.com")
    assert parsed.room.timeline.limit_within(20, 100) == 10
    assert not parsed.room.timeline.matches_event(event(sender="@spam:example.com"))
    assert not parsed.room.timeline.matches_event(event(room_id="!726s6s6q:example.com"))
    assert parsed.room.ephemeral.matches("m.typing")
    assert not parsed.presence.matches("m.presence", "@alice:example.com")
    assert parsed.event_fields == ("type", "content", "sender")
    assert not parsed.room.timeline.passes_all


@pytest.mark.parametrize(
    ("types", "not_types", "event_type", "passes"),
    [
        (["m.room.message"], [], "m.room.message", True),
        (["m.room.message"], [], "M.ROOM.MESSAGE", False),
        (["m.*"], [], "m.reaction", True),
        (["m.*"], ["m.room.*"], "m.room.topic", False),
        (["*.call.*"], [], "m.call.invite", True),
        (["m.?"], [], "m.x", False),
        ([], [], "m.room.message", False),
        (None, [], "m.room.message", True),
        (None, ["*"], "m.room.message", False),
        (["a"], ["a"], "a", False),
    ],
)
def test_types_pass_by_lists_with_wildcards(
    types: list[str] | None, not_types: list[str], event_type: str, passes: bool
) -> None:
    parsed = parse_room_event_filter({"types": types, "not_types": not_types})
    assert parsed.matches(event_type, "@a:x") is passes


def test_excluded_senders_and_rooms_win_over_included_ones() -> None:
    parsed = parse_room_event_filter(
        {"senders": ["@a:x", "@b:x"], "not_senders": ["@b:x"], "rooms": ["!r:x", "!s:x"], "not_rooms": ["!s:x"]}
    )
    assert parsed.matches_event(event())
    assert not parsed.matches_event(event(sender="@b:x"))
    assert not parsed.matches_event(event(sender="@c:x"))
    assert not parsed.matches_event(event(room_id="!s:x"))
    assert not parsed.matches_event(event(room_id="!t:x"))
    assert not parsed.matches("m.typing")


def test_rooms_of_the_room_section_exclude_whole_rooms() -> None:
    room = parse_filter({"room": {"rooms": ["!r:x"], "not_rooms": ["!s:x"], "include_leave": True}}).room
    assert room.allows_room("!r:x")
    assert not room.allows_room("!s:x")
    assert room.include_leave


def test_contains_url_asks_for_events_with_or_without_a_url() -> None:
    with_url, without = (
        parse_room_event_filter({"contains_url": True}),
        parse_room_event_filter({"contains_url": False}),
    )
    image, text = event(url="mxc://x/y"), event(body="x")
    assert with_url.matches_event(image)
    assert not with_url.matches_event(text)
    assert without.matches_event(text)
    assert not without.matches_event(image)


def test_events_can_be_asked_for_by_their_children() -> None:
    parsed = parse_room_event_filter({"related_by_rel_types": ["m.thread"], "related_by_senders": ["@a:x"]})
    assert parsed.matches_children([("m.thread", "@b:x"), ("m.thread", "@a:x")])
    assert not parsed.matches_children([("m.thread", "@b:x"), ("m.reference", "@a:x")])
    assert not parsed.passes_all


def test_lazy_loading_is_asked_for_in_state_or_timeline() -> None:
    assert parse_filter({"room": {"state": {"lazy_load_members": True}}}).room.lazy_load_members
    room = parse_filter({"room": {"timeline": {"lazy_load_members": True, "include_redundant_members": True}}}).room
    assert room.lazy_load_members
    assert room.include_redundant_members
    assert parse_filter({"room": {"timeline": {"unread_thread_notifications": True}}}).room.timeline == (
        parse_room_event_filter({"unread_thread_notifications": True})
    )


@pytest.mark.parametrize(("limit", "expected"), [(None, 10), (5, 5), (1000, 100), (0, 0)])
def test_limits_have_a_default_and_a_maximum(limit: int | None, expected: int) -> None:
    assert parse_room_event_filter({"limit": limit}).limit_within(10, 100) == expected


def test_equal_filters_are_equal_values_that_can_be_cached() -> None:
    one = parse_filter({"room": {"state": {"types": ["a", "b*"]}, "rooms": ["!a:x", "!b:x"]}})
    other = parse_filter({"room": {"rooms": ["!b:x", "!a:x"], "state": {"types": ["b*", "a"]}}, "unknown": 1})
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([], BadJson),
        ("x", BadJson),
        ({"room": []}, BadJson),
        ({"room": {"timeline": 1}}, BadJson),
        ({"presence": "x"}, BadJson),
        ({"event_fields": "content"}, BadJson),
        ({"event_fields": [1]}, BadJson),
        ({"event_format": "xml"}, InvalidParam),
        ({"room": {"timeline": {"limit": "10"}}}, BadJson),
        ({"room": {"timeline": {"limit": True}}}, BadJson),
        ({"room": {"timeline": {"limit": 1.5}}}, BadJson),
        ({"room": {"timeline": {"limit": -1}}}, InvalidParam),
        ({"room": {"timeline": {"types": "m.room.message"}}}, BadJson),
        ({"room": {"timeline": {"types": [None]}}}, BadJson),
        ({"room": {"timeline": {"senders": ["alice"]}}}, InvalidParam),
        ({"room": {"rooms": ["#alias:x"]}}, InvalidParam),
        ({"room": {"state": {"lazy_load_members": "yes"}}}, BadJson),
        ({"room": {"include_leave": 1}}, BadJson),
        ({"room": {"timeline": {"types": ["x"] * 1001}}}, InvalidParam),
        ({"room": {"timeline": {"types": ["x" * 256]}}}, InvalidParam),
    ],
)
def test_bad_filters_are_refused_with_a_sentence(value: Any, error: type[MatrixError]) -> None:
    with pytest.raises(error) as caught:
        parse_filter(value)
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (None, {"type": "t", "content": {"body": "b", "m.x": {"y": 1, "z": 2}}}),
        ((), {}),
        (("type",), {"type": "t"}),
        (("content.body",), {"content": {"body": "b"}}),
        ((r"content.m\.x.y", "content.body"), {"content": {"m.x": {"y": 1}, "body": "b"}}),
        (("content", "content.body"), {"content": {"body": "b", "m.x": {"y": 1, "z": 2}}}),
        (("content.body", "content"), {"content": {"body": "b", "m.x": {"y": 1, "z": 2}}}),
        (("content.none",), {}),
        ((r"content.m\.x.none.deeper",), {}),
        (("type.deeper",), {}),
        (("none",), {}),
    ],
)
def test_only_the_fields_asked_for_remain(fields: tuple[str, ...] | None, expected: dict[str, Any]) -> None:
    source = {"type": "t", "content": {"body": "b", "m.x": {"y": 1, "z": 2}}}
    assert only_fields(source, fields) == expected
    assert source == {"type": "t", "content": {"body": "b", "m.x": {"y": 1, "z": 2}}}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["room", "state", "timeline", "types", "limit", "rooms", "senders", "event_fields", "contains_url"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_json_does_more_than_be_refused(value: Any) -> None:
    try:
        parsed = parse_filter(value)
    except (BadJson, InvalidParam):
        return
    hash(parsed)
    parsed.room.timeline.matches_event(event())


def test_D08_wildcards_in_types_take_linear_time() -> None:
    parsed = parse_room_event_filter({"types": ["*a" * 126 + f"b{n:02}"[:3] for n in range(100)]})
    started = time.process_time()
    for _ in range(100):
        assert not parsed.matches("a" * 255)
    assert time.process_time() - started < 1
