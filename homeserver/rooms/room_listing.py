"""Every room of the server, for operators: found by parts of names, in any order, a page at a time.

Contents of rooms are kept in memory once an operator has asked, and read anew for those that changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeserver.protocol.errors import NotFound
from homeserver.storage.public_rooms import PublicRoomStore
from homeserver.storage.room_listing import RoomCounts, RoomListingStore

TYPES: Final = (
    "m.room.create",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.encryption",
    "m.room.tombstone",
)
ORDERS: Final = (
    "name",
    "alphabetical",
    "size",
    "canonical_alias",
    "joined_members",
    "joined_local_members",
    "version",
    "creator",
    "encryption",
    "federatable",
    "public",
    "join_rules",
    "guest_access",
    "history_visibility",
    "state_events",
)
_LARGEST_FIRST: Final = frozenset({"joined_members", "joined_local_members", "version", "state_events"})
_OLD_NAMES: Final = {"alphabetical": "name", "size": "joined_members"}
MAX_MISSED: Final = 20_000


@dataclass(frozen=True, slots=True)
class RoomQuery:
    """What to list; None: whatever. `term` is a part of the name, of the alias' localpart, or of the id."""

    term: str | None = None
    public: bool | None = None
    empty: bool | None = None
    order_by: str = "name"
    reverse: bool = False
    start: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class ListedRoom:
    """One room with what operators' tools show of it."""

    room_id: str
    version: str
    counts: RoomCounts
    contents: Mapping[str, Mapping[str, Any]]

    def text(self, event_type: str, name: str) -> str | None:
        value = self.contents.get(event_type, {}).get(name)
        return value if isinstance(value, str) and value else None

    def members(self) -> dict[str, Any]:
        """As the members of an answer."""
        return {
            "room_id": self.room_id,
            "name": self.text("m.room.name", "name"),
            "canonical_alias": self.text("m.room.canonical_alias", "alias"),
            "joined_members": self.counts.joined,
            "joined_local_members": self.counts.joined_local,
            "version": self.version,
            "creator": self.counts.creator,
            "encryption": self.text("m.room.encryption", "algorithm"),
            "federatable": self.contents.get("m.room.create", {}).get("m.federate") is not False,
            "public": self.counts.is_published,
            "join_rules": self.text("m.room.join_rules", "join_rule"),
            "guest_access": self.text("m.room.guest_access", "guest_access"),
            "history_visibility": self.text("m.room.history_visibility", "history_visibility"),
            "state_events": self.counts.state_events,
            "room_type": self.text("m.room.create", "type"),
        }


class RoomListing:
    """Lists and describes rooms."""

    def __init__(self, store: RoomListingStore, public_rooms: PublicRoomStore, server_name: str) -> None:
        self._store = store
        self._public_rooms = public_rooms
        self._server_name = server_name
        self._contents: dict[str, tuple[str, Mapping[str, Mapping[str, Any]]]] = {}
        self._position = 0
        self._lock = asyncio.Lock()

    async def page(self, query: RoomQuery) -> tuple[list[dict[str, Any]], int]:
        """(a page of rooms, how many match)."""
        rooms = [room for room in await self._all() if _matches(room, query)]
        order = _OLD_NAMES.get(query.order_by, query.order_by)
        listed = [room.members() for room in rooms]
        listed.sort(key=lambda one: one["room_id"])
        listed.sort(key=lambda one: _key(one[order]), reverse=(order in _LARGEST_FIRST) != query.reverse)
        return listed[query.start : query.start + query.limit], len(listed)

    async def get(self, room_id: str) -> dict[str, Any]:
        """Everything that is told of one room. Raises NotFound."""
        counts = (await self._store.list_counts([room_id], self._server_name)).get(room_id)
        facts = (await self._public_rooms.list_facts([room_id], TYPES)).get(room_id)
        if counts is None or facts is None:
            raise NotFound("This server does not know the room.")
        room = ListedRoom(room_id, facts[0], counts, facts[2])
        return {
            **room.members(),
            "topic": room.text("m.room.topic", "topic"),
            "avatar": room.text("m.room.avatar", "url"),
            "joined_local_devices": await self._store.count_local_devices(room_id),
            "forgotten": await self._store.is_forgotten(room_id, self._server_name),
            "tombstoned": "m.room.tombstone" in room.contents,
            "replacement_room": room.text("m.room.tombstone", "replacement_room"),
        }

    async def largest(self) -> list[tuple[str, int]]:
        """(room id, bytes of its events) of the ten largest rooms."""
        return await self._store.list_sizes()

    async def _all(self) -> list[ListedRoom]:
        async with self._lock:
            room_ids = await self._store.list_room_ids()
            await self._refresh(room_ids)
            counts = await self._store.list_counts(room_ids, self._server_name)
            return [
                ListedRoom(room_id, self._contents[room_id][0], counts[room_id], self._contents[room_id][1])
                for room_id in room_ids
                if room_id in self._contents and room_id in counts
            ]

    async def _refresh(self, room_ids: Sequence[str]) -> None:
        position = self._store.position
        changed = await self._public_rooms.list_changed(self._position, MAX_MISSED) if self._contents else None
        if changed is None:
            self._contents.clear()
        else:
            for room_id in changed:
                self._contents.pop(room_id, None)
        self._position = position
        missing = [room_id for room_id in room_ids if room_id not in self._contents]
        if missing:
            for room_id, (version, _, contents) in (await self._public_rooms.list_facts(missing, TYPES)).items():
                self._contents[room_id] = (version, contents)


def _matches(room: ListedRoom, query: RoomQuery) -> bool:
    if query.public is not None and room.counts.is_published != query.public:
        return False
    if query.empty is not None and (room.counts.joined == 0) != query.empty:
        return False
    if not query.term:
        return True
    term = query.term.lower()
    name = (room.text("m.room.name", "name") or "").lower()
    alias = (room.text("m.room.canonical_alias", "alias") or "").lower().partition(":")[0]
    return term in name or term in alias or query.term in room.room_id


def _key(value: Any) -> tuple[int, Any]:
    """Numbers by their value, texts by their letters, what is not there last."""
    if value is None:
        return 2, ""
    if isinstance(value, bool | int):
        return 0, int(value)
    return (0, int(value)) if value.isdigit() else (1, value.lower())
