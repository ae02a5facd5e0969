"""Single events of a room's past that this server does not have: by their id, and by their time.

They are kept without a place in the timeline (outliers), checked as any other event. Only rooms whose past is not whole
here are asked about, so nobody can have us ask for what cannot be missing.

Spec: Server-Server API, "Retrieving events", `GET /timestamp_to_event/{roomId}`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from federation.client import FederationClient, encoded, list_of
from federation.events import EventChecks
from federation.missing_events import MissingEvents
from federation.transactions import servers_to_ask
from homeserver.clock import Clock
from homeserver.protocol.errors import MatrixError
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.services import RoomServices
from homeserver.storage.events import REJECTED_OUTLIER, StoredEvent

SERVERS_MAX: Final = 3
NOT_HAD_SECONDS: Final = 60.0
"""What no server had is not asked for again so soon."""
NOT_HAD_MAX: Final = 2_000
FETCHING_MAX: Final = 20
TIMEOUT_SECONDS: Final = 20.0

_log = logging.getLogger("federation.past_events")


class PastEvents:
    """Fetches them."""

    def __init__(
        self,
        *,
        client: FederationClient,
        checks: EventChecks,
        missing: MissingEvents,
        rooms: RoomServices,
        clock: Clock,
        own_name: str,
    ) -> None:
        self._client = client
        self._checks = checks
        self._missing = missing
        self._rooms = rooms
        self._clock = clock
        self._own_name = own_name
        self._not_had: dict[tuple[str, str], float] = {}
        self._fetching: dict[tuple[str, str], asyncio.Task[StoredEvent | None]] = {}

    async def fetch(self, room: LiveRoom, event_id: str) -> StoredEvent | None:
        """The event as it is known now: an outlier, or with its place. None when nobody tells of it, and for those that
        its own auth events reject."""
        for stored in await self._rooms.events.find_events(room.room_id, room.version, [event_id]):
            return stored if stored.status != REJECTED_OUTLIER else None
        key = (room.room_id, event_id)
        if self._not_had.get(key, 0.0) > self._clock.monotonic() or not await self._has_gaps(room):
            return None
        task = self._fetching.get(key)
        if task is None:
            if len(self._fetching) >= FETCHING_MAX:
                return None
            task = self._fetching[key] = asyncio.ensure_future(self._fetch(room, event_id))
            task.add_done_callback(lambda _: self._fetching.pop(key, None))
        return await asyncio.shield(task)

    async def _fetch(self, room: LiveRoom, event_id: str) -> StoredEvent | None:
        for server in servers_to_ask(room, self._own_name)[:SERVERS_MAX]:
            try:
                answer = await self._client.get(
                    server, encoded("/_matrix/federation/v1/event/{}", event_id), timeout=TIMEOUT_SECONDS
                )
                events = await self._checks.check_all(list_of(answer, "pdus")[:1], room.version, room.room_id)
                if not events or events[0].event_id != event_id:
                    continue
                await self._missing.bring_auth_events(server, room, events[0])
                await self._rooms.room_import.keep_outliers(room, events[:1])
            except MatrixError as error:
                _log.info("%s does not tell of %s: %s", server, event_id, error)
                continue
            for stored in await self._rooms.events.find_events(room.room_id, room.version, [event_id]):
                return stored if stored.status != REJECTED_OUTLIER else None
        if len(self._not_had) >= NOT_HAD_MAX:
            self._not_had.pop(next(iter(self._not_had)))
        self._not_had[room.room_id, event_id] = self._clock.monotonic() + NOT_HAD_SECONDS
        return None

    async def near(self, room: LiveRoom, timestamp_ms: int, *, forward: bool) -> StoredEvent | None:
        """The event nearest to a time in one direction, as other servers know it. What they say of its time is not
        believed: the event says it itself."""
        if not await self._has_gaps(room):
            return None
        path = encoded("/_matrix/federation/v1/timestamp_to_event/{}", room.room_id)
        query = {"ts": timestamp_ms, "dir": "f" if forward else "b"}
        for server in servers_to_ask(room, self._own_name)[:SERVERS_MAX]:
            try:
                answer = await self._client.get(server, path, query, timeout=TIMEOUT_SECONDS)
            except MatrixError as error:
                _log.info("%s knows no event of %s near a time: %s", server, room.room_id, error)
                continue
            event_id = answer.get("event_id") if isinstance(answer, dict) else None
            found = await self.fetch(room, event_id) if isinstance(event_id, str) and len(event_id) <= 255 else None
            if found is not None and (found.event.origin_server_ts >= timestamp_ms) is forward:
                return found
            if found is not None and found.event.origin_server_ts == timestamp_ms:
                return found
        return None

    async def _has_gaps(self, room: LiveRoom) -> bool:
        return bool(await self._rooms.graph.list_unknown(room.room_id))
