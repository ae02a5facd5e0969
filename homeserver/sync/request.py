"""What a client asks of /sync, and what the sections of the answer work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from homeserver.protocol.filters import DEFAULT_FILTER, Filter
from homeserver.rooms.client_events import Reader
from homeserver.rooms.tokens import StreamToken
from homeserver.storage.rooms import Membership
from homeserver.sync.user_rooms import KnownRooms
from homeserver.users.presence import State
from homeserver.users.requester import Requester


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """`since` None asks for everything. `timeout_ms`: how long to wait when there is nothing new.

    `is_lost`: `since` was beyond the end of the stream, so that nobody knows what the device has.
    `state_after_name`: what the state after the timeline is called; who asks by the name of MSC4222 (matrix-js-sdk)
    looks for the answer under that name alone.
    `is_pushed`: over a connection that stays open, of which there are bounds of their own.
    `with_partial`: the reader can do without all members of a room, as clients that load them lazily can, too.
    """

    requester: Requester
    filter: Filter = DEFAULT_FILTER
    since: StreamToken | None = None
    is_lost: bool = False
    full_state: bool = False
    use_state_after: bool = False
    state_after_name: str = "state_after"
    timeout_ms: int = 0
    set_presence: State = "online"
    is_pushed: bool = False
    with_partial: bool = False


@dataclass(slots=True)
class SyncRun:
    """One look at the stream, from `since` to `now`, for one device.

    `joined`: the rooms that the user is in and the filter lets pass, each with the membership, whose position is where
    this stay began; `newly_joined`: those of them joined after `since`, or all of them on an initial sync.
    `newly_left`: those where the user's newest membership, of after `since`, is another one.
    `response`: what the sections add to.
    `after`: changes after this position are news.
    """

    request: SyncRequest
    reader: Reader
    since: StreamToken | None
    now: StreamToken
    memberships: KnownRooms
    ignored: frozenset[str]
    joined: Mapping[str, Membership] = field(default_factory=dict)
    newly_joined: set[str] = field(default_factory=set)
    newly_left: set[str] = field(default_factory=set)
    response: dict[str, Any] = field(default_factory=dict)
    rooms: dict[str, dict[str, Any]] = field(default_factory=dict)
    user_id: str = field(init=False)
    is_initial: bool = field(init=False)
    after: int = field(init=False)

    def __post_init__(self) -> None:
        self.user_id = self.reader.user_id
        self.is_initial = self.since is None
        self.after = 0 if self.since is None else self.since.position

    def joined_section(self, room_id: str) -> dict[str, Any]:
        """The answer's section of a joined room, made when somebody has something to put there."""
        section: dict[str, Any] = self.rooms.setdefault("join", {}).setdefault(room_id, {})
        return section
