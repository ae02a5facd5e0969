"""How long messages are kept: each room's m.room.retention (MSC1763), within the bounds that the operator sets.

What has expired is shown to nobody from that moment, and deleted by the next round of the purge. State is kept: without
it the room would not be what it is. So is the newest event of a room.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from homeserver.clock import Clock
from homeserver.protocol.errors import Unavailable
from homeserver.rooms.history_purge import HistoryPurge
from homeserver.rooms.live_room import LiveRoom, LiveRooms
from homeserver.storage.purges import PurgeStore

RETENTION: Final = "m.room.retention"

_log = logging.getLogger("homeserver.rooms.retention")


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """Lifetimes in milliseconds. `default_ms` None: rooms without a policy keep everything. `minimum_ms` and
    `maximum_ms` bound what a room may ask for. `purge_seconds`: how long from one round of the purge to the next."""

    enabled: bool = False
    default_ms: int | None = None
    minimum_ms: int | None = None
    maximum_ms: int | None = None
    purge_seconds: float = 3600.0


class Retention:
    """Says what has expired."""

    def __init__(self, settings: RetentionSettings, clock: Clock) -> None:
        self.settings = settings
        self._clock = clock

    def lifetime_ms(self, room: LiveRoom) -> int | None:
        """How long the room keeps a message; None: for ever."""
        settings = self.settings
        if not settings.enabled:
            return None
        asked = room.content(RETENTION).get("max_lifetime")
        lifetime = settings.default_ms
        if isinstance(asked, int) and not isinstance(asked, bool) and asked > 0:
            lifetime = asked
        if lifetime is None:
            return None
        if settings.minimum_ms is not None:
            lifetime = max(lifetime, settings.minimum_ms)
        if settings.maximum_ms is not None:
            lifetime = min(lifetime, settings.maximum_ms)
        return lifetime

    def oldest_ms(self, room: LiveRoom) -> int | None:
        """Messages sent before this time have expired; None: none do."""
        lifetime = self.lifetime_ms(room)
        return None if lifetime is None else self._clock.now_ms() - lifetime


class RetentionPurge:
    """Deletes what has expired, now and then."""

    def __init__(
        self, *, retention: Retention, rooms: LiveRooms, store: PurgeStore, purge: HistoryPurge, clock: Clock
    ) -> None:
        self._retention = retention
        self._rooms = rooms
        self._store = store
        self._purge = purge
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the rounds, where retention is switched on."""
        if self._retention.settings.enabled:
            self._task = asyncio.create_task(self._run(), name="retention")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def purge_expired(self) -> int:
        """One round over all rooms that have a policy; how many events went."""
        everywhere = self._retention.settings.default_ms is not None
        removed, after = 0, ""
        while page := await self._store.list_expiring_rooms(after, everywhere=everywhere):
            after = page[-1]
            for room_id in page:
                room = await self._rooms.find(room_id)
                oldest = None if room is None else self._retention.oldest_ms(room)
                if oldest is not None:
                    removed += await self._purge.purge(room_id, before_ms=oldest)
        return removed

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._retention.settings.purge_seconds)
            try:
                removed = await self.purge_expired()
            except Unavailable as error:
                _log.warning("retention waits for the database: %s", error)
            except Exception:
                _log.exception("a round of the retention failed; the next one tries again")
            else:
                if removed:
                    _log.info("retention deleted %d events that had expired", removed)
