"""Brings what an event stands on and this server does not have, from the server that sent it.

First the gap between what is known and the event is asked for (`/get_missing_events`); where it is wider than that, the
state before the event (`/state_ids`, then the events that it names). That state is one branch among others: it goes
through state resolution with what this server has worked out itself, so that nobody resets a room by it (A04). No step
leaves the room (B18).

Spec: Server-Server API, "Retrieving event authorisation information", "Backfilling and retrieving missing events".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

from federation.client import STATE_BYTES, FederationClient, RemoteRefused, encoded, is_for_now, list_of
from federation.events import EventChecks, in_order
from homeserver.protocol.errors import BadJson, MatrixError, Unavailable
from homeserver.protocol.events import Event
from homeserver.rooms.branches import UnknownEvents
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.receiving import Outcome
from homeserver.rooms.services import RoomServices
from homeserver.storage.events import FOR_GOOD_REJECTED, WITHOUT_A_PLACE
from homeserver.storage.rooms import StateKey

GAP_MAX: Final = 20
"""Events of a gap that are asked for at a time: other servers give no more."""
GAP_PAGES_MAX: Final = 25
"""What lies further back than so many pages is left to whoever scrolls there."""
ONE_BY_ONE_MAX: Final = 50
"""Up to so many events of a state are asked for one by one; beyond it, or when not all can be had, the whole state."""
STATE_MAX: Final = 100_000
AUTH_AT_ONCE: Final = 8

_log = logging.getLogger("federation.missing_events")


class MissingEvents:
    """Receives events, and what they need."""

    def __init__(self, client: FederationClient, checks: EventChecks, rooms: RoomServices) -> None:
        self._client = client
        self._checks = checks
        self._rooms = rooms
        self._locks: dict[str, asyncio.Lock] = {}

    async def receive(self, origin: str, event: Event) -> Outcome:
        """Receive one event that has passed its checks. Raises MatrixError when what it needs cannot be had."""
        try:
            return await self._rooms.receiver.receive(event)
        except UnknownEvents:
            lock = self._locks.setdefault(event.room_id, asyncio.Lock())
            async with lock:  # one walk over a room at a time, however many events wait for it
                return await self._receive_with(origin, event)

    async def _receive_with(self, origin: str, event: Event) -> Outcome:
        room = await self._rooms.live.get(event.room_id)
        await self.bring_auth_events(origin, room, event)
        if not (await self._here(room, event.prev_events)).issuperset(event.prev_events):
            for earlier in await self._gap(origin, room, event):
                await self._receive_earlier(origin, room, earlier)
        try:
            return await self._rooms.receiver.receive(event)
        except UnknownEvents:
            return await self._receive_unattached(origin, room, event)

    async def _receive_unattached(self, origin: str, room: LiveRoom, event: Event) -> Outcome:
        """What it stands on cannot be had: then by its state, or for now by a guess, where that is on its way."""
        if room.partial is not None:
            return await self._rooms.receiver.receive(event, guess=True)
        state = await self.state_before(origin, room, event)
        return await self._rooms.receiver.receive(event, state_before=state)

    async def _receive_earlier(self, origin: str, room: LiveRoom, event: Event) -> None:
        """One of the gap. What it needs beyond the gap is its state."""
        try:
            await self.bring_auth_events(origin, room, event)
            try:
                await self._rooms.receiver.receive(event)
            except UnknownEvents:
                await self._receive_unattached(origin, room, event)
        except MatrixError as error:
            if isinstance(error, Unavailable) or is_for_now(error):
                raise  # it is not the event that is bad
            _log.info("An event of a gap in %s is left out: %s", room.room_id, error)

    async def _gap(self, origin: str, room: LiveRoom, event: Event) -> list[Event]:
        """What lies between an event and what is here, oldest first: asked for page by page, from the newest backwards,
        so that after an outage of some length the timeline is whole.

        What is not deeper than the oldest place where our history ends is of before this server came in: it is left to
        whoever scrolls there.
        """
        floor = await self._floor(room)
        found: dict[str, Event] = {}
        latest = [event.event_id]
        for _ in range(GAP_PAGES_MAX):
            page = [
                one
                for one in await self._gap_page(origin, room, latest, floor)
                if one.event_id not in found and one.event_id != event.event_id and one.depth > floor
            ]
            here = await self._here(room, [one for each in page for one in (each.event_id, *each.prev_events)])
            new: dict[str, Event] = {one.event_id: one for one in page if one.event_id not in here}
            found.update(new)
            known = {*found, *here}
            latest = [one.event_id for one in new.values() if not known.issuperset(one.prev_events)][:GAP_MAX]
            if not latest:
                break
        return in_order(list(found.values()))

    async def _floor(self, room: LiveRoom) -> int:
        """The depth up to which this server is content not to know the room; 0 where it knows all."""
        named_by = [one for _, one in await self._rooms.graph.list_unknown(room.room_id)]
        found = await self._rooms.events.find_events(room.room_id, room.version, named_by)
        return min((stored.event.depth for stored in found), default=0)

    async def _here(self, room: LiveRoom, event_ids: Sequence[str]) -> set[str]:
        """Those of the events that have a place in the room here."""
        found = await self._rooms.graph.find_graph_events(room.room_id, list(dict.fromkeys(event_ids)))
        return {event_id for event_id, one in found.items() if one.status not in WITHOUT_A_PLACE}

    async def _gap_page(self, origin: str, room: LiveRoom, latest: Sequence[str], floor: int) -> list[Event]:
        body = {
            "latest_events": latest,
            "earliest_events": [head.event_id for head in room.extremities][:GAP_MAX],
            "limit": GAP_MAX,
            "min_depth": floor + 1,
        }
        path = encoded("/_matrix/federation/v1/get_missing_events/{}", room.room_id)
        try:
            answer = await self._client.request(origin, "POST", path, body=body)
        except RemoteRefused:
            return []
        return await self._checks.check_all(list_of(answer, "events")[:GAP_MAX], room.version, room.room_id)

    async def bring_auth_events(self, origin: str, room: LiveRoom, event: Event) -> None:
        """Keep the event's auth chain, as far as this server does not have it."""
        here = await self._rooms.graph.find_graph_events(room.room_id, event.auth_events)
        if all(event_id in here for event_id in event.auth_events):
            return
        path = encoded("/_matrix/federation/v1/event_auth/{}/{}", room.room_id, event.event_id)
        answer = await self._client.get(origin, path, max_bytes=STATE_BYTES)
        chain = await self._checks.check_all(list_of(answer, "auth_chain")[:STATE_MAX], room.version, room.room_id)
        await self._rooms.room_import.keep_outliers(room, _reachable(chain, event.auth_events))

    async def bring_auth_events_of_all(self, origin: str, room: LiveRoom, events: Sequence[Event]) -> None:
        """The same for many events; some are asked for at a time, and what cannot be had is left out."""
        wanted = {event_id for event in events for event_id in event.auth_events}
        here = await self._rooms.graph.find_graph_events(room.room_id, list(wanted))
        missing = wanted - here.keys()
        asked: list[Event] = []
        for event in events:
            if not missing.isdisjoint(event.auth_events):
                missing.difference_update(event.auth_events)
                asked.append(event)
        turns = asyncio.Semaphore(AUTH_AT_ONCE)

        async def bring(event: Event) -> None:
            async with turns:
                try:
                    await self.bring_auth_events(origin, room, event)
                except MatrixError as error:
                    _log.debug("The auth events of %s cannot be had: %s", event.event_id, error)

        await asyncio.gather(*(bring(event) for event in asked))

    async def state_before(self, origin: str, room: LiveRoom, event: Event) -> dict[StateKey, str]:
        """The state before an event, as its sender tells of it; its events are kept."""
        path = encoded("/_matrix/federation/v1/state_ids/{}", room.room_id)
        answer = await self._client.get(origin, path, {"event_id": event.event_id}, max_bytes=STATE_BYTES)
        ids = [one for one in list_of(answer, "pdu_ids")[:STATE_MAX] if isinstance(one, str)]
        chain = [one for one in list_of(answer, "auth_chain_ids")[:STATE_MAX] if isinstance(one, str)]
        await self._bring(origin, room, event, [*chain, *ids])
        state: dict[StateKey, str] = {}
        for stored in await self._rooms.events.find_events(room.room_id, room.version, ids):
            if stored.event.is_state and stored.status not in FOR_GOOD_REJECTED:
                state[stored.event.key] = stored.event_id
        if ("m.room.create", "") not in state:
            raise BadJson("The state before the event has no create event")
        return state

    async def _bring(self, origin: str, room: LiveRoom, event: Event, ids: list[str]) -> None:
        here = await self._rooms.graph.find_graph_events(room.room_id, ids)
        missing = [event_id for event_id in dict.fromkeys(ids) if event_id not in here]
        if not missing:
            return
        if len(missing) <= ONE_BY_ONE_MAX:
            pdus = [pdu for event_id in missing for pdu in await self.fetch_event(origin, event_id)]
            await self._keep(room, pdus, missing)
            here = await self._rooms.graph.find_graph_events(room.room_id, ids)
            missing = [event_id for event_id in missing if event_id not in here]
        if missing:
            path = encoded("/_matrix/federation/v1/state/{}", room.room_id)
            answer = await self._client.get(origin, path, {"event_id": event.event_id}, max_bytes=STATE_BYTES)
            pdus = [*list_of(answer, "auth_chain")[:STATE_MAX], *list_of(answer, "pdus")[:STATE_MAX]]
            await self._keep(room, pdus, missing)

    async def _keep(self, room: LiveRoom, pdus: Sequence[Any], wanted: Iterable[str]) -> None:
        events = await self._checks.check_all(pdus, room.version, room.room_id)
        await self._rooms.room_import.keep_outliers(room, _reachable(events, wanted))

    async def fetch_event(self, origin: str, event_id: str) -> list[Any]:
        """The PDU of one event, or nothing."""
        try:
            answer = await self._client.get(origin, encoded("/_matrix/federation/v1/event/{}", event_id))
        except RemoteRefused:
            return []
        return list_of(answer, "pdus")[:1]


def _reachable(events: Sequence[Event], start: Iterable[str]) -> list[Event]:
    """Those of the events that were asked for, and their auth chains: nothing else is kept (A11)."""
    by_id: dict[str, Event] = {event.event_id: event for event in events}
    waiting = [event_id for event_id in start if event_id in by_id]
    found: dict[str, Event] = {}
    while waiting:
        event_id = waiting.pop()
        if event_id not in found:
            found[event_id] = by_id[event_id]
            waiting += [one for one in by_id[event_id].auth_events if one in by_id and one not in found]
    return [event for event in events if event.event_id in found]
