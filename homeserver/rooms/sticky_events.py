"""Sticky events of rooms: kept apart, so that every member hears of them while they hold (MSC4354).

Rooms without any cost a look into a dictionary. History visibility does not apply: whoever is joined may see them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from homeserver.clock import Clock
from homeserver.protocol.sticky_events import STICKY_FIELD, sticky_expiry
from homeserver.rooms.live_room import LiveRooms
from homeserver.storage.database import Transaction
from homeserver.storage.events import ACCEPTED, EventStore, StoredEvent
from homeserver.storage.sticky_events import StickyEventStore

CLEANED_EVERY: Final = 100
"""So many sticky events are written before those that have expired are looked for."""
MAX_LISTED: Final = 1_000
"""Of one room, at once."""


class StickyEvents:
    """Which events of which room hold."""

    def __init__(self, *, store: StickyEventStore, events: EventStore, rooms: LiveRooms, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._rooms = rooms
        self._clock = clock
        self._newest: dict[str, tuple[int, int]] | None = None
        self._written = 0
        self._forgotten = 0

    async def write(self, txn: Transaction, stored: StoredEvent) -> None:
        """Note an event that is being stored, if it is sticky; inside its transaction."""
        if STICKY_FIELD not in stored.event.pdu:
            return
        now = self._clock.now_ms()
        expires = sticky_expiry(stored.event.pdu, now)
        if expires is None or expires <= now:
            return
        room_id, position = stored.event.room_id, stored.position
        self._store.add_event(txn, position, room_id, stored.event_id, expires)
        self._written += 1
        if self._written % CLEANED_EVERY == 0:
            await self._store.remove_expired(txn, now)
        txn.on_commit(lambda: self._note(room_id, position, expires))

    def _note(self, room_id: str, position: int, expires: int) -> None:
        self._forgotten += 1
        if self._newest is not None:
            _, before = self._newest.get(room_id, (0, 0))
            self._newest[room_id] = (position, max(before, expires))

    async def list_rooms(self, after: int = 0) -> list[str]:
        """The rooms where something sticky, of after a place, holds still."""
        now = self._clock.now_ms()
        return [
            room_id
            for room_id, (position, expires) in (await self._rooms_with_any(now)).items()
            if position > after and expires > now
        ]

    async def list_events(
        self, room_id: str, after: int, up_to: int, *, limit: int = MAX_LISTED, without: Iterable[str] = ()
    ) -> list[StoredEvent]:
        """The room's sticky events of (after, up_to] that hold still, oldest first; `without`: those shown elsewhere.

        For members who are joined: nobody else is looked at here.
        """
        now = self._clock.now_ms()
        newest = (await self._rooms_with_any(now)).get(room_id)
        if newest is None or newest[0] <= after or newest[1] <= now:
            return []
        ids = await self._store.list_event_ids(room_id, after, up_to, now, limit)
        shown = frozenset(without)
        wanted = [event_id for event_id in ids if event_id not in shown]
        room = await self._rooms.find(room_id)
        if room is None or not wanted:
            return []
        found = await self._events.find_events(room_id, room.version, wanted)
        kept = [stored for stored in found if stored.status == ACCEPTED and stored.redacted_because is None]
        return sorted(kept, key=lambda stored: stored.position)

    async def list_of_rooms(
        self, room_ids: Iterable[str], after: int, up_to: int, *, limit: int = 100
    ) -> tuple[dict[str, list[StoredEvent]], int]:
        """(the sticky events of several rooms, at most `limit`, the oldest first; the place to go on from).

        For the sliding sync extension `org.matrix.msc4354.sticky_events`; the place is its `next_batch`.
        """
        found: list[StoredEvent] = []
        for room_id in room_ids:
            found += await self.list_events(room_id, after, up_to, limit=limit + 1)
        found.sort(key=lambda stored: stored.position)
        place = up_to if len(found) <= limit else found[limit - 1].position
        by_room: dict[str, list[StoredEvent]] = {}
        for stored in found[:limit]:
            by_room.setdefault(stored.event.room_id, []).append(stored)
        return by_room, place

    async def _rooms_with_any(self, now: int) -> dict[str, tuple[int, int]]:
        while self._newest is None:
            forgotten = self._forgotten
            rows = await self._store.list_rooms(now)
            if forgotten == self._forgotten:
                self._newest = {room_id: (position, expires) for room_id, position, expires in rows}
        return self._newest

    def forget_all(self) -> None:
        """Drop what is in memory: another process may have written."""
        self._forgotten += 1
        self._newest = None
