"""Who may see an event: the one predicate, for users and for servers (known attacks A17, G01, G05).

The caller knows the state *before* the event (its visibility and the memberships in question) and whether the user
joined later; what the event itself changes is read from the event. Whether the event was rejected, soft-failed or
redacted is another question, asked elsewhere.

Spec (v1.19): Client-Server API, "Room History Visibility"; Server-Server API, "Retrieving events" and "Backfilling".
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal, get_args

from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import domain_of

Visibility = Literal["world_readable", "shared", "invited", "joined"]

DEFAULT_VISIBILITY: Final[Visibility] = "shared"
_VISIBILITIES: Final[frozenset[str]] = frozenset(get_args(Visibility))


def visibility_of(event: Event | None) -> Visibility:
    """The visibility that an `m.room.history_visibility` event sets, None being that there is none.

    "By default if no history_visibility is set, or if the value is not understood, the visibility is assumed to be
    shared."
    """
    if event is None:
        return DEFAULT_VISIBILITY
    value = event.content.get("history_visibility")
    if isinstance(value, str) and value in _VISIBILITIES:
        return value  # type: ignore[return-value]
    return DEFAULT_VISIBILITY


def membership_of(event: Event | None) -> str | None:
    """The membership that an `m.room.member` event sets; None where there is none, or it is no string."""
    value = None if event is None else event.content.get("membership")
    return value if isinstance(value, str) else None


def allows(visibility: Visibility, membership: str | None, joined_later: bool) -> bool:
    """The spec's five rules: whether somebody of this membership may see what happens under this visibility."""
    # 1. "If the history_visibility was set to world_readable, allow."
    if visibility == "world_readable":
        return True
    # 2. "If the user's membership was join, allow."
    if membership == "join":
        return True
    # 3. "If history_visibility was set to shared, and the user joined the room at any point after the event was sent,
    # allow."
    if visibility == "shared":
        return joined_later
    # 4. "If the user's membership was invite, and the history_visibility was set to invited, allow."
    # 5. "Otherwise, deny."
    return visibility == "invited" and membership == "invite"


def may_see(
    event: Event,
    user_id: str,
    *,
    visibility: Visibility,
    membership: str | None,
    joined_later: bool,
) -> bool:
    """Whether the user may see the event.

    `visibility`: of the room before the event. `membership`: of the user before the event, None if there was none.
    `joined_later`: whether the user joined at any point after it, and may have left again since.
    """
    if allows(visibility, membership, joined_later):
        return True
    if event.state_key is None:
        return False
    # "For m.room.history_visibility events themselves, the user should be allowed to see the event if the
    # history_visibility before *or* after the event would allow them to see it."
    if event.type == "m.room.history_visibility" and event.state_key == "":
        return allows(visibility_of(event), membership, joined_later)
    # "Likewise, for the user's own m.room.member events, the user should be allowed to see the event if their
    # membership before *or* after the event would allow them to see it."
    if event.type == "m.room.member" and event.state_key == user_id:
        return allows(visibility, membership_of(event), joined_later)
    return False


def server_may_see(
    event: Event,
    server_name: str,
    *,
    visibility: Visibility,
    memberships: Collection[str],
    joined_later: bool,
) -> bool:
    """Whether a server may have the event, because one of its users may see it.

    `memberships`: those of the server's users before the event. `joined_later`: whether any of its users joined after
    it; so it is true for whoever is in the room when asking. That the asking server is in the room at all (or, for
    `world_readable`, may ask) is for the caller to check first.
    """
    if event.type == "m.room.member" and event.state_key is not None and domain_of(event.state_key) == server_name:
        membership = membership_of(event)
        if membership is not None:
            memberships = [*memberships, membership]
    visibilities = [visibility]
    if event.type == "m.room.history_visibility" and event.state_key == "":
        visibilities.append(visibility_of(event))
    best: str | None = "join" if "join" in memberships else "invite" if "invite" in memberships else None
    return any(allows(each, best, joined_later) for each in visibilities)
