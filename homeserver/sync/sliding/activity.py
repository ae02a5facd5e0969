"""When something last happened in rooms, and what lists ask of them, without loading the rooms."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from homeserver.rooms.live_room import LiveRoom, LiveRooms
from homeserver.storage.sliding_sync import SlidingSyncStore
from homeserver.stream import Change, Stream

REMEMBERED: Final = 100_000
BUMPS: Final = frozenset(
    {
        "m.room.create",
        "m.room.message",
        "m.room.encrypted",
        "m.sticker",
        "m.call.invite",
        "m.poll.start",
        "org.matrix.msc3381.poll.start",
        "m.beacon_info",
        "org.matrix.msc3672.beacon_info",
    }
)
"""Events that move a room to the top of a list of conversations."""

_FACTS: Final = ("m.room.create", "m.room.encryption", "m.room.name")
_BUMPS: Final = tuple(sorted(BUMPS))


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """What filters ask."""

    room_type: str | None
    is_encrypted: bool
    name: str


class RoomActivity:
    """The newest event of rooms, their newest one that bumps, and their facts."""

    def __init__(self, rooms: LiveRooms, store: SlidingSyncStore, stream: Stream) -> None:
        self._rooms = rooms
        self._store = store
        self._newest: OrderedDict[str, int] = OrderedDict()
        self._bumps: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._facts: OrderedDict[str, RoomFacts] = OrderedDict()
        self._generation = 0
        stream.listen(self._changed)

    async def newest(self, room_ids: Collection[str]) -> dict[str, int]:
        """Where the newest event of each room stands."""
        missing = [room_id for room_id in room_ids if room_id not in self._newest]
        found: dict[str, int] = {}
        if missing:
            generation = self._generation
            found = await self._store.newest_positions(missing)
            for room_id in missing:
                live = self._rooms.peek(room_id)
                # Not its `last_position`: when a room is loaded, that is the end of the stream.
                in_memory = live.timeline[-1].position if live is not None and live.timeline else 0
                position = found[room_id] = max(in_memory, found.get(room_id, 0), self._newest.get(room_id, 0))
                if generation == self._generation:
                    self._newest[room_id] = position
            while len(self._newest) > max(REMEMBERED, len(room_ids)):
                self._newest.popitem(last=False)
        return {room_id: self._newest.get(room_id) or found.get(room_id, 0) for room_id in room_ids}

    async def bumped(self, rooms: Collection[LiveRoom]) -> dict[str, int]:
        """Where the newest event of each room stands that bumps it."""
        missing: list[LiveRoom] = []
        found: dict[str, int] = {}
        for room in rooms:
            known = self._bumps.get(room.room_id)
            recent = room.recent(known[0]) if known is not None else None
            if known is None or recent is None:
                missing.append(room)
                continue
            newer = [stored.position for stored in recent if stored.event.type in BUMPS]
            found[room.room_id] = self._note_bump(room.room_id, room.last_position, max((known[1], *newer)))
        if missing:
            counted = {room.room_id: room.last_position for room in missing}
            stored = await self._store.newest_positions(list(counted), _BUMPS)
            for room_id, last in counted.items():
                found[room_id] = self._note_bump(room_id, last, stored.get(room_id, 0))
        return found

    async def facts(self, room_ids: Collection[str]) -> dict[str, RoomFacts]:
        """What filters ask of the rooms as they are."""
        found: dict[str, RoomFacts] = {}
        missing: list[str] = []
        for room_id in room_ids:
            live = self._rooms.peek(room_id)
            if live is not None:
                contents = {event_type: live.content(event_type) for event_type in _FACTS}
                is_encrypted = live.state_event("m.room.encryption") is not None
                found[room_id] = _facts_of(contents, is_encrypted=is_encrypted)
            elif room_id in self._facts:
                found[room_id] = self._facts[room_id]
            else:
                missing.append(room_id)
        if missing:
            generation = self._generation
            state: dict[str, dict[str, Any]] = {room_id: {} for room_id in missing}
            for room_id, event_type, text in await self._store.list_state_json(missing, _FACTS):
                state[room_id][event_type] = msgspec.json.decode(text).get("content", {})
            for room_id, contents in state.items():
                facts = _facts_of(contents, is_encrypted="m.room.encryption" in contents)
                found[room_id] = facts
                if generation == self._generation:
                    self._facts[room_id] = facts
            while len(self._facts) > REMEMBERED:
                self._facts.popitem(last=False)
        return found

    def forget_all(self) -> None:
        """Another process may have written anything."""
        self._generation += 1
        self._newest.clear()
        self._bumps.clear()
        self._facts.clear()

    def _note_bump(self, room_id: str, counted: int, bump: int) -> int:
        self._bumps[room_id] = (counted, bump)
        if len(self._bumps) > REMEMBERED:
            self._bumps.popitem(last=False)
        return bump

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is not Change.EVENTS:
            return
        self._generation += 1
        for room_id in rooms:
            if room_id in self._newest:
                self._newest[room_id] = max(position, self._newest[room_id])
            self._facts.pop(room_id, None)


def _facts_of(contents: dict[str, Any], *, is_encrypted: bool) -> RoomFacts:
    room_type = contents.get("m.room.create", {}).get("type")
    name = contents.get("m.room.name", {}).get("name")
    return RoomFacts(
        room_type if isinstance(room_type, str) else None, is_encrypted, name if isinstance(name, str) else ""
    )
