"""History visibility: the spec's table in full, the two kinds of events that are seen from both sides, and servers."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from homeserver.protocol.events import Event
from homeserver.protocol.history_visibility import Visibility, may_see, membership_of, server_may_see, visibility_of
from homeserver.protocol.room_versions import ROOM_VERSIONS

ALICE = "@alice:here"
VISIBILITIES: list[Visibility] = ["world_readable", "shared", "invited", "joined"]


def event(type: str = "m.room.message", state_key: str | None = None, **content: Any) -> Event:
    pdu: dict[str, Any] = {
        "type": type,
        "sender": "@bob:there",
        "room_id": "!r:there",
        "content": content,
        "depth": 1,
        "origin_server_ts": 1,
        "prev_events": [],
        "auth_events": [],
    }
    if state_key is not None:
        pdu["state_key"] = state_key
    return Event(pdu, ROOM_VERSIONS["11"], "$event")


def member(membership: Any, user_id: str = ALICE) -> Event:
    return event("m.room.member", user_id, membership=membership)


def sees(subject: Event, visibility: Visibility, membership: str | None, joined_later: bool = False) -> bool:
    return may_see(subject, ALICE, visibility=visibility, membership=membership, joined_later=joined_later)


# The rows that rules 1 to 4 allow; every other combination is denied by rule 5.
ALLOWED = (
    {("world_readable", membership, later) for membership in ("join", "invite", "leave") for later in (True, False)}
    | {(visibility, "join", later) for visibility in VISIBILITIES for later in (True, False)}
    | {("shared", membership, True) for membership in ("invite", "leave")}
    | {("invited", "invite", later) for later in (True, False)}
)


@pytest.mark.parametrize(
    ("visibility", "membership", "later"),
    list(product(VISIBILITIES, ["join", "invite", "leave", "ban", "knock", None], [True, False])),
)
def test_a_message_is_seen_by_the_rules_of_the_spec(
    visibility: Visibility, membership: str | None, later: bool
) -> None:
    row = (visibility, membership if membership in ("join", "invite") else "leave", later)
    assert sees(event(), visibility, membership, later) is (row in ALLOWED)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("world_readable", "joined", True),
        ("joined", "world_readable", True),
        ("joined", "shared", False),
        ("joined", "invited", False),
    ],
)
def test_a_change_of_visibility_is_seen_by_the_one_before_or_after(
    before: Visibility, after: str, expected: bool
) -> None:
    change = event("m.room.history_visibility", "", history_visibility=after)
    assert sees(change, before, None) is expected


def test_a_change_of_visibility_under_another_state_key_changes_nothing() -> None:
    assert not sees(event("m.room.history_visibility", "x", history_visibility="world_readable"), "joined", None)
    assert not sees(event("m.room.history_visibility", history_visibility="world_readable"), "joined", None)


@pytest.mark.parametrize(
    ("before", "after", "visibility", "expected"),
    [
        (None, "join", "joined", True),
        ("invite", "join", "joined", True),
        ("join", "leave", "joined", True),
        ("join", "ban", "joined", True),
        (None, "invite", "invited", True),
        (None, "invite", "joined", False),
        ("invite", "leave", "invited", True),
        ("leave", "ban", "invited", False),
    ],
)
def test_ones_own_membership_is_seen_by_the_one_before_or_after(
    before: str | None, after: str, visibility: Visibility, expected: bool
) -> None:
    assert sees(member(after), visibility, before) is expected


def test_the_membership_of_others_is_not_ones_own() -> None:
    assert not sees(member("join", "@bob:there"), "joined", None)


def test_what_comes_after_leaving_is_not_seen() -> None:
    assert not sees(event(), "shared", "leave", joined_later=False)


@pytest.mark.parametrize("value", [None, "everybody", 1, [], {}])
def test_a_visibility_that_is_not_understood_is_shared(value: Any) -> None:
    assert visibility_of(event("m.room.history_visibility", "", history_visibility=value)) == "shared"
    assert visibility_of(None) == "shared"


@pytest.mark.parametrize("visibility", VISIBILITIES)
def test_a_visibility_that_is_understood_is_itself(visibility: Visibility) -> None:
    assert visibility_of(event("m.room.history_visibility", "", history_visibility=visibility)) == visibility


@pytest.mark.parametrize("value", [None, 1, ["join"]])
def test_a_membership_that_is_no_string_is_none(value: Any) -> None:
    assert membership_of(member(value)) is None
    assert not sees(member(value), "joined", None)


def server_sees(subject: Event, visibility: Visibility, memberships: list[str], joined_later: bool = False) -> bool:
    return server_may_see(subject, "here", visibility=visibility, memberships=memberships, joined_later=joined_later)


@pytest.mark.parametrize(
    ("visibility", "memberships", "later", "expected"),
    [
        ("world_readable", [], False, True),
        ("shared", [], True, True),
        ("shared", ["leave", "invite"], False, False),
        ("invited", ["leave", "invite"], True, True),
        ("invited", ["leave", "ban"], True, False),
        ("joined", ["invite", "leave"], True, False),
        ("joined", ["invite", "join"], False, True),
    ],
)
def test_a_server_sees_what_one_of_its_users_sees(
    visibility: Visibility, memberships: list[str], later: bool, expected: bool
) -> None:
    assert server_sees(event(), visibility, memberships, later) is expected


def test_a_server_sees_what_its_users_memberships_become() -> None:
    assert server_sees(member("join"), "joined", [])
    assert server_sees(member("leave"), "joined", ["join"])
    assert not server_sees(member("join", "@bob:there"), "joined", [])
    assert server_sees(event("m.room.history_visibility", "", history_visibility="world_readable"), "joined", [])
