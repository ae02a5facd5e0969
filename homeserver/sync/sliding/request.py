"""What a client asks of sliding sync (MSC4186, in the form of its unstable path)."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from homeserver.protocol.errors import InvalidParam
from homeserver.users.presence import State
from homeserver.users.requester import Requester

LISTS_MAX = 100
SUBSCRIPTIONS_MAX = 1_000
REQUIRED_MAX = 500
NAME_LENGTH_MAX = 255


class RoomFilters(msgspec.Struct, frozen=True):
    """Which rooms a list is of. All that are given must hold."""

    is_dm: bool | None = None
    spaces: tuple[str, ...] | None = None
    is_encrypted: bool | None = None
    is_invite: bool | None = None
    is_invited: bool | None = None
    room_types: tuple[str | None, ...] | None = None
    not_room_types: tuple[str | None, ...] | None = None
    room_name_like: str | None = None
    tags: tuple[str, ...] | None = None
    not_tags: tuple[str, ...] | None = None


class RoomConfig(msgspec.Struct, frozen=True):
    """What to tell of a room."""

    timeline_limit: int
    required_state: tuple[tuple[str, str], ...]


class ListConfig(RoomConfig, frozen=True):
    """A list. Without `ranges` all of its rooms are told of."""

    ranges: tuple[tuple[int, int], ...] | None = None
    slow_get_all_rooms: bool | None = None
    filters: RoomFilters | None = None


class ExtensionConfig(msgspec.Struct, frozen=True):
    """An extension. `lists` and `rooms` say of which rooms; `since` and `limit` belong to some of them only."""

    enabled: bool | None = None
    lists: tuple[str, ...] | None = ("*",)
    rooms: tuple[str, ...] | None = ("*",)
    since: str | None = None
    limit: int | None = None


_OFF = ExtensionConfig()


class Extensions(msgspec.Struct, frozen=True):
    """Those that this server has. Others are not looked at."""

    to_device: ExtensionConfig | None = None
    e2ee: ExtensionConfig | None = None
    account_data: ExtensionConfig | None = None
    receipts: ExtensionConfig | None = None
    typing: ExtensionConfig | None = None
    thread_subscriptions: ExtensionConfig | None = msgspec.field(
        name="io.element.msc4308.thread_subscriptions", default=None
    )
    sticky_events: ExtensionConfig | None = msgspec.field(name="org.matrix.msc4354.sticky_events", default=None)


class SlidingSyncBody(msgspec.Struct, frozen=True):
    """The request's body."""

    conn_id: str | None = None
    lists: dict[str, ListConfig] | None = None
    room_subscriptions: dict[str, RoomConfig] | None = None
    extensions: Extensions | None = None

    def check(self) -> None:
        """Raises InvalidParam for what is too much, or makes no sense."""
        lists, subscriptions = self.lists or {}, self.room_subscriptions or {}
        if len(lists) > LISTS_MAX:
            raise InvalidParam(f"There may be at most {LISTS_MAX} lists.")
        if len(subscriptions) > SUBSCRIPTIONS_MAX:
            raise InvalidParam(f"There may be at most {SUBSCRIPTIONS_MAX} subscriptions.")
        if any(len(name) > NAME_LENGTH_MAX for name in (self.conn_id or "", *lists)):
            raise InvalidParam(f"Names of connections and lists have at most {NAME_LENGTH_MAX} characters.")
        for config in (*lists.values(), *subscriptions.values()):
            if config.timeline_limit < 0:
                raise InvalidParam("timeline_limit must not be negative.")
        wanted = {config.required_state for config in (*lists.values(), *subscriptions.values())}
        if sum(map(len, wanted)) > REQUIRED_MAX:
            raise InvalidParam(f"required_state may have at most {REQUIRED_MAX} entries, in all that differ together.")
        if any(len(text) > NAME_LENGTH_MAX for pairs in wanted for pair in pairs for text in pair):
            raise InvalidParam(f"Event types and state keys have at most {NAME_LENGTH_MAX} characters.")
        for one in lists.values():
            for start, end in one.ranges or ():
                if start < 0 or end < start:
                    raise InvalidParam("A range is [first, last], counted from 0.")


@dataclass(frozen=True, slots=True)
class SlidingSyncRequest:
    """One request. `pos` None: the connection begins."""

    requester: Requester
    body: SlidingSyncBody = field(default_factory=SlidingSyncBody)
    pos: str | None = None
    timeout_ms: int = 0
    set_presence: State = "online"
