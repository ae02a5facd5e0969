"""Filters: what a client wants to be told, parsed once into values that can be hashed, compared and cached.

`parse_filter` is for `/user/{userId}/filter` and `/sync`; `parse_room_event_filter` for `/messages`, `/context` and
`/search`. Members that the spec does not know are ignored.

Spec (v1.19): Client-Server API, "Filtering" and `POST /user/{userId}/filter`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final, Literal

from homeserver.protocol.errors import BadJson, InvalidParam
from homeserver.protocol.events import Event
from homeserver.protocol.globs import Glob
from homeserver.protocol.property_paths import MISSING, parse_path, property_at

MAX_ENTRIES: Final = 1000
"""Of each list in a filter (D08, D15)."""
MAX_ENTRY_LENGTH: Final = 255


@lru_cache(maxsize=4096)
def _type_glob(pattern: str) -> Glob:
    # "A * can be used as a wildcard to match any sequence of characters." Nothing else is a wildcard, and case counts.
    return Glob(pattern, single=False)


@dataclass(frozen=True, slots=True)
class TypeSet:
    """A list of event types of which some may hold wildcards."""

    exact: frozenset[str]
    patterns: tuple[str, ...] = ()

    def __contains__(self, event_type: str) -> bool:
        if event_type in self.exact:
            return True
        return any(_type_glob(pattern).matches(event_type) for pattern in self.patterns)


@dataclass(frozen=True)
class EventFilter:
    """Which events pass, by type and sender; None lets all pass, an empty list none.

    `limit`: as the client asked; see `limit_within`.
    """

    limit: int | None = None
    types: TypeSet | None = None
    not_types: TypeSet | None = None
    senders: frozenset[str] | None = None
    not_senders: frozenset[str] = frozenset()

    @cached_property
    def passes_all(self) -> bool:
        """Whether every event passes, so that the caller need not ask."""
        return self._passes_types_and_senders()

    def _passes_types_and_senders(self) -> bool:
        return self.types is None and self.not_types is None and self.senders is None and not self.not_senders

    def limit_within(self, default: int, maximum: int) -> int:
        """How many events to return. 0 is none: some clients ask for that, though the spec has them ask for more."""
        return min(default if self.limit is None else self.limit, maximum)

    def matches(self, event_type: str, sender: str | None = None) -> bool:
        """Whether an event passes. `sender` None (typing, receipts, account data) is on no list of senders."""
        if self.types is not None and event_type not in self.types:
            return False
        if self.not_types is not None and event_type in self.not_types:
            return False
        if self.senders is not None and sender not in self.senders:
            return False
        return sender not in self.not_senders


@dataclass(frozen=True)
class RoomEventFilter(EventFilter):
    """Which events of rooms pass.

    `related_by_rel_types`, `related_by_senders`: let only events pass that have a child with one of these relation
    types and senders; the caller knows the children and asks `matches_children`.
    """

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    contains_url: bool | None = None
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False
    related_by_rel_types: frozenset[str] | None = None
    related_by_senders: frozenset[str] | None = None

    @cached_property
    def passes_all(self) -> bool:
        return (
            self._passes_types_and_senders()
            and self.rooms is None
            and not self.not_rooms
            and self.contains_url is None
            and not self.asks_for_children
        )

    @property
    def asks_for_children(self) -> bool:
        """Whether `matches_children` has something to say."""
        return self.related_by_rel_types is not None or self.related_by_senders is not None

    def allows_room(self, room_id: str) -> bool:
        """Whether anything of the room may pass. "A matching room will be excluded even if it is listed in rooms." """
        return (self.rooms is None or room_id in self.rooms) and room_id not in self.not_rooms

    def matches_event(self, event: Event) -> bool:
        """Whether an event of a room passes, by everything that the event itself shows."""
        if self.contains_url is not None and self.contains_url is not isinstance(event.content.get("url"), str):
            return False
        return self.matches(event.type, event.sender) and self.allows_room(event.room_id)

    def matches_children(self, children: Iterable[tuple[str, str]]) -> bool:
        """Whether an event passes by its children, given as pairs of relation type and sender."""
        if not self.asks_for_children:
            return True
        rel_types, senders = self.related_by_rel_types, self.related_by_senders
        return any(
            (rel_types is None or rel_type in rel_types) and (senders is None or sender in senders)
            for rel_type, sender in children
        )


@dataclass(frozen=True)
class RoomFilter:
    """What of rooms is included. `rooms` and `not_rooms` come before those of the sections."""

    rooms: frozenset[str] | None = None
    not_rooms: frozenset[str] = frozenset()
    include_leave: bool = False
    state: RoomEventFilter = field(default_factory=RoomEventFilter)
    timeline: RoomEventFilter = field(default_factory=RoomEventFilter)
    ephemeral: RoomEventFilter = field(default_factory=RoomEventFilter)
    account_data: RoomEventFilter = field(default_factory=RoomEventFilter)

    def allows_room(self, room_id: str) -> bool:
        return (self.rooms is None or room_id in self.rooms) and room_id not in self.not_rooms

    @cached_property
    def lazy_load_members(self) -> bool:
        """Whether memberships are sent only for the senders of what is sent: a matter of the state section, by which
        clients ask for it; some say it for the timeline only."""
        return self.state.lazy_load_members or self.timeline.lazy_load_members

    @property
    def include_redundant_members(self) -> bool:
        return self.state.include_redundant_members or self.timeline.include_redundant_members


@dataclass(frozen=True)
class Filter:
    """A whole filter. `event_fields` are the paths to include, None for all."""

    event_fields: tuple[str, ...] | None = None
    event_format: Literal["client", "federation"] = "client"
    presence: EventFilter = field(default_factory=EventFilter)
    account_data: EventFilter = field(default_factory=EventFilter)
    room: RoomFilter = field(default_factory=RoomFilter)


DEFAULT_FILTER: Final = Filter()
DEFAULT_ROOM_EVENT_FILTER: Final = RoomEventFilter()


def only_fields(event: Mapping[str, Any], event_fields: tuple[str, ...] | None) -> dict[str, Any]:
    """The event (as a client sees it) with only the properties at these paths; None keeps all.

    A path of which the event has nothing adds nothing, and a path within a property that is already there takes nothing
    away.
    """
    if event_fields is None:
        return dict(event)
    kept: dict[str, Any] = {}
    for path in event_fields:
        _keep(event, kept, parse_path(path))
    return kept


def _keep(source: Mapping[str, Any], kept: dict[str, Any], path: tuple[str, ...]) -> None:
    value = property_at(source, path)
    if value is MISSING:
        return
    for name in path[:-1]:
        source = source[name]
        if kept.get(name) is source:
            return  # Already kept whole.
        kept = kept.setdefault(name, {})
    kept[path[-1]] = value


def parse_filter(value: Any) -> Filter:
    """The filter in a body or in the `filter` parameter of `/sync`.

    Raises BadJson where the shape is wrong and InvalidParam where a value is, with a sentence that names the member.
    """
    source = _object(value, "The filter")
    event_format = source.get("event_format", "client")
    if event_format not in ("client", "federation"):
        raise InvalidParam("'event_format' must be 'client' or 'federation'.")
    room = _section(source, "room")
    return Filter(
        event_fields=_paths(source),
        event_format=event_format,
        presence=EventFilter(**_event_members(_section(source, "presence"), "presence")),
        account_data=EventFilter(**_event_members(_section(source, "account_data"), "account_data")),
        room=RoomFilter(
            rooms=_ids(room, "rooms", "!", "room"),
            not_rooms=_ids(room, "not_rooms", "!", "room") or frozenset(),
            include_leave=bool(_boolean(room, "include_leave", "room")),
            state=_room_event_filter(_section(room, "state", "room."), "room.state"),
            timeline=_room_event_filter(_section(room, "timeline", "room."), "room.timeline"),
            ephemeral=_room_event_filter(_section(room, "ephemeral", "room."), "room.ephemeral"),
            account_data=_room_event_filter(_section(room, "account_data", "room."), "room.account_data"),
        ),
    )


def parse_room_event_filter(value: Any) -> RoomEventFilter:
    """The filter of one list of events. Raises as `parse_filter` does."""
    return _room_event_filter(_object(value, "The filter"), "filter")


def _room_event_filter(source: Mapping[str, Any], name: str) -> RoomEventFilter:
    return RoomEventFilter(
        **_event_members(source, name),
        rooms=_ids(source, "rooms", "!", name),
        not_rooms=_ids(source, "not_rooms", "!", name) or frozenset(),
        contains_url=_boolean(source, "contains_url", name),
        lazy_load_members=bool(_boolean(source, "lazy_load_members", name)),
        include_redundant_members=bool(_boolean(source, "include_redundant_members", name)),
        unread_thread_notifications=bool(_boolean(source, "unread_thread_notifications", name)),
        related_by_rel_types=_ids(source, "related_by_rel_types", "", name),
        related_by_senders=_ids(source, "related_by_senders", "@", name),
    )


def _event_members(source: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {
        "limit": _limit(source, name),
        "types": _types(source, "types", name),
        "not_types": _types(source, "not_types", name),
        "senders": _ids(source, "senders", "@", name),
        "not_senders": _ids(source, "not_senders", "@", name) or frozenset(),
    }


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadJson(f"{name} must be a JSON object.")
    return value


def _section(source: Mapping[str, Any], key: str, prefix: str = "") -> Mapping[str, Any]:
    value = source.get(key)
    return {} if value is None else _object(value, f"'{prefix}{key}' in the filter")


def _boolean(source: Mapping[str, Any], key: str, name: str) -> bool | None:
    value = source.get(key)
    if value is not None and not isinstance(value, bool):
        raise BadJson(f"'{name}.{key}' in the filter must be true or false.")
    return value


def _limit(source: Mapping[str, Any], name: str) -> int | None:
    value = source.get("limit")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadJson(f"'{name}.limit' in the filter must be an integer.")
    # The spec wants "an integer greater than 0", but 0 is what clients send that want no timeline at first.
    if value < 0:
        raise InvalidParam(f"'{name}.limit' in the filter must not be negative.")
    return value


def _strings(source: Mapping[str, Any], key: str, name: str) -> list[str] | None:
    value = source.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise BadJson(f"'{name}.{key}' in the filter must be a list of strings.")
    if len(value) > MAX_ENTRIES:
        raise InvalidParam(f"'{name}.{key}' in the filter may have at most {MAX_ENTRIES} entries.")
    if any(len(entry) > MAX_ENTRY_LENGTH for entry in value):
        raise InvalidParam(f"An entry of '{name}.{key}' in the filter is longer than {MAX_ENTRY_LENGTH} characters.")
    return value


def _types(source: Mapping[str, Any], key: str, name: str) -> TypeSet | None:
    entries = _strings(source, key, name)
    if entries is None:
        return None
    return TypeSet(
        frozenset(entry for entry in entries if "*" not in entry),
        tuple(sorted({entry for entry in entries if "*" in entry})),
    )


def _ids(source: Mapping[str, Any], key: str, sigil: str, name: str) -> frozenset[str] | None:
    entries = _strings(source, key, name)
    if entries is None:
        return None
    wrong = next((entry for entry in entries if not entry.startswith(sigil)), None)
    if wrong is not None:
        raise InvalidParam(f"{wrong[:50]!r} in '{name}.{key}' of the filter does not start with '{sigil}'.")
    return frozenset(entries)


def _paths(source: Mapping[str, Any]) -> tuple[str, ...] | None:
    entries = _strings(source, "event_fields", "filter")
    return None if entries is None else tuple(dict.fromkeys(entries))
