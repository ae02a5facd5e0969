"""History of before this server was in a room, fetched when somebody scrolls back to it.

What is fetched gets places before everything else in the room (negative positions), with the state before it as the
same server tells it (`rooms/earlier_history.py`). The servers that are asked leave out, or redact, what this one may
not see; what each user may see is then for this server to say.

Spec: Server-Server API, "Backfilling and retrieving missing events".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from federation.client import FederationClient, RemoteFailed, encoded
from federation.events import EventChecks, in_order
from federation.missing_events import MissingEvents
from federation.transactions import servers_to_ask
from homeserver.protocol.events import Event
from homeserver.rooms.earlier_history import AskState, EarlierHistory
from homeserver.rooms.live_room import MEMBER, LiveRoom
from homeserver.rooms.services import RoomServices
from homeserver.storage.partial_state import PartialState
from homeserver.storage.rooms import StateKey

PAGE: Final = 100
SERVERS_MAX: Final = 5
FROM_MAX: Final = 20
PARTS_MAX: Final = 5
"""Whoever names events that do not exist hides no more than so many times so many others."""

_log = logging.getLogger("federation.backfill")


class Backfill:
    """Fetches it, one page at a time for a room."""

    def __init__(
        self,
        *,
        client: FederationClient,
        checks: EventChecks,
        missing: MissingEvents,
        rooms: RoomServices,
        history: EarlierHistory,
        own_name: str,
    ) -> None:
        self._history = history
        self._client = client
        self._checks = checks
        self._missing = missing
        self._rooms = rooms
        self._own_name = own_name
        self._running: dict[str, asyncio.Task[bool]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def backfill(self, room: LiveRoom) -> bool:
        """Whether there is more of the room's past now than before."""
        running = self._running.get(room.room_id)
        if running is None:
            running = self._running[room.room_id] = asyncio.ensure_future(self._fetch(room))
            running.add_done_callback(lambda _: self._running.pop(room.room_id, None))
        return await asyncio.shield(running)

    def _alone(self, room_id: str) -> asyncio.Lock:
        """Held while the history of a room is written: in the midst of it nobody judges what there is again."""
        lock = self._locks.get(room_id)
        if lock is None:
            lock = self._locks[room_id] = asyncio.Lock()
        return lock

    async def _fetch(self, room: LiveRoom) -> bool:
        async with self._alone(room.room_id):
            return await self._fetch_alone(await self._rooms.live.find(room.room_id) or room)

    async def _fetch_alone(self, room: LiveRoom) -> bool:
        unknown = await self._rooms.graph.list_unknown(room.room_id)
        if not unknown:
            return False
        wanted = list(dict.fromkeys(event_id for event_id, _ in unknown))
        for start in range(0, min(len(wanted), FROM_MAX * PARTS_MAX), FROM_MAX):
            if await self._fetch_before(room, wanted[start : start + FROM_MAX]):
                return True
        return False

    async def _fetch_before(self, room: LiveRoom, wanted: list[str]) -> bool:
        """Fetch some of the events that others name and nobody has told us, and what came before them."""
        path = encoded("/_matrix/federation/v1/backfill/{}", room.room_id)
        for server in servers_to_ask(room, self._own_name)[:SERVERS_MAX]:
            try:
                answer = await self._client.get(server, path, {"v": wanted, "limit": PAGE})
            except RemoteFailed as error:
                _log.info("%s tells nothing of the past of %s: %s", server, room.room_id, error)
                continue
            pdus = answer.get("pdus") if isinstance(answer, dict) else None
            events = await self._checks.check_all(
                pdus[: 2 * PAGE] if isinstance(pdus, list) else [], room.version, room.room_id
            )
            await self._missing.bring_auth_events_of_all(server, room, events)
            ask_state: AskState = partial(self._missing.state_before, server, room)
            joined = self._rooms.live.partial.find(room.room_id)
            if joined is None:
                if await self._history.add(room, in_order(events), ask_state):
                    return True
                continue
            # That would be all of its members, who are on their way.
            if await self._history.add(room, in_order(events), partial(self._guess_state, room, joined, events)):
                if self._rooms.live.partial.find(room.room_id) is None:  # they have come, and the guess may be of both
                    await self._history.judge_again(room, ask_state)
                return True
        return False

    async def _guess_state(
        self, room: LiveRoom, joined: PartialState, events: Sequence[Event], event: Event
    ) -> Mapping[StateKey, str]:
        """The state before an event of history, while the state of the room is partial: as it was told at the join,
        with what the events themselves name. It is asked for when the rest is here (`judge_again`)."""
        told = await self._rooms.store.list_state_changes(room.room_id, joined.base - 1, joined.base)
        state = {key: event_id for _, key, event_id in told if event_id is not None}
        named = [one for each in events for one in each.auth_events]
        found = await self._rooms.events.find_events(room.room_id, room.version, list(dict.fromkeys(named)))
        for stored in found:
            if stored.event.is_state and (stored.event.type == MEMBER or stored.event_id in event.auth_events):
                state[stored.event.key] = stored.event_id
        return state

    async def judge_again(self, room_id: str, server: str) -> None:
        """The state of the room was partial when its history was fetched, and is whole now. Raises MatrixError."""
        async with self._alone(room_id):
            room = await self._rooms.live.find(room_id)
            if room is None:
                return
            await self._history.judge_again(room, partial(self._missing.state_before, server, room))
