"""Telling application services what happens: a reader of the stream for each, with a stored place.

A transaction is fixed in the database (its number, from where, up to where) before it is sent for the first time, and
sent again under the same number until the service acknowledges it: nothing is lost, and a service that keeps the last
number doubles nothing (W33). Order is the order of the stream. Spec: Application Service API, "Pushing events".
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from homeserver.appservice_api.client import AppserviceCalls
from homeserver.appservice_api.registration import Appservice
from homeserver.clock import Clock
from homeserver.rooms.client_events import Reader
from homeserver.rooms.receipts import READ, receipts_contents
from homeserver.rooms.services import RoomServices
from homeserver.storage.appservices import AppservicePlace, AppserviceStore
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.stream import Change, Stream

BATCH: Final = 100
SCANNED: Final = 1_000
FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 300.0
KEPT_PLACE_EVERY: Final = 1_000
"""After how many uninteresting positions a place is written down."""

_log = logging.getLogger("homeserver.appservice_api")


class AppserviceSender:
    """Tells one application service."""

    def __init__(
        self,
        appservice: Appservice,
        *,
        db: Database,
        store: AppserviceStore,
        rooms: RoomServices,
        stream: Stream,
        client: AppserviceCalls,
        clock: Clock,
    ) -> None:
        self._appservice = appservice
        self._db = db
        self._store = store
        self._rooms = rooms
        self._stream = stream
        self._client = client
        self._clock = clock
        self._moved = asyncio.Event()
        self._typing: dict[str, None] = {}
        self._interest: dict[str, tuple[int, bool]] = {}
        self._task: asyncio.Task[None] | None = None
        self.failures = 0

    def start(self) -> None:
        """Begin where the last run ended; a service that is new begins now."""
        self._stream.listen(self._changed)
        self._rooms.typing.listen(self._typing_changed)
        self._task = asyncio.create_task(self._run(), name=f"appservice {self._appservice.id}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is Change.EVENTS or kind is Change.RECEIPTS:
            self._moved.set()

    def _typing_changed(self, room_id: str) -> None:
        if self._appservice.receive_ephemeral:
            self._typing[room_id] = None
            self._moved.set()

    async def _run(self) -> None:
        place = await self._store.find_place(self._appservice.id)
        if place is None:
            place = AppservicePlace(self._stream.position, 0, None)
            await self._keep(place)
        kept = place.position
        while True:
            self._moved.clear()
            content, up_to = await self._collect(place)
            if content is not None:
                place = await self._deliver(place, content, up_to)
                kept = place.position
                continue
            place = AppservicePlace(up_to, place.last_txn, None)
            if up_to - kept >= KEPT_PLACE_EVERY:
                await self._keep(place)
                kept = up_to
            if up_to >= self._stream.position:
                await self._moved.wait()

    async def _deliver(self, place: AppservicePlace, content: dict[str, Any], up_to: int) -> AppservicePlace:
        number = place.last_txn if place.pending_up_to is not None else place.last_txn + 1
        if place.pending_up_to is None:
            place = AppservicePlace(place.position, number, up_to)
            await self._keep(place)
        delay = FIRST_RETRY_SECONDS
        while True:
            answer = await self._client.send(self._appservice, number, content)
            if answer.status == 200:
                break
            self.failures += 1
            _log.warning(
                "application service %s did not take transaction %d (%s); trying again in %.0f s",
                self._appservice.id,
                number,
                answer.error or f"status {answer.status}",
                delay,
            )
            await self._clock.sleep(delay)
            delay = min(delay * 2, LAST_RETRY_SECONDS)
        place = AppservicePlace(up_to, number, None)
        await self._keep(place)
        return place

    async def _keep(self, place: AppservicePlace) -> None:
        async def job(txn: Any) -> None:
            self._store.set_place(txn, self._appservice.id, place)

        await self._db.write(job)

    async def _collect(self, place: AppservicePlace) -> tuple[dict[str, Any] | None, int]:
        """(the content of the next transaction, or None when there is nothing to tell; up to which position)."""
        # Who types is looked at before how far the stream is, so that it never overtakes the typist's joining.
        typing, self._typing = {room_id: self._rooms.typing.who(room_id) for room_id in self._typing}, {}
        up_to = self._stream.position if place.pending_up_to is None else place.pending_up_to
        events: list[Any] = []
        found = await self._rooms.events.list_stream(place.position, up_to, SCANNED)
        reader = Reader(self._appservice.sender)
        for stored in found:
            if await self._is_interested(stored):
                events.append(self._rooms.serializer.serialize(stored, reader))
                if len(events) == BATCH and place.pending_up_to is None:
                    up_to = stored.position
                    break
        else:
            if len(found) == SCANNED and place.pending_up_to is None:
                up_to = found[-1].position
        ephemeral: list[dict[str, Any]] = []
        if self._appservice.receive_ephemeral:
            ephemeral = await self._ephemeral(typing, place.position, up_to)
        if not events and not ephemeral and place.pending_up_to is None:
            return None, up_to
        content: dict[str, Any] = {"events": events}
        if self._appservice.receive_ephemeral:
            content["ephemeral"] = ephemeral
            content["de.sorunome.msc2409.ephemeral"] = ephemeral
        return content, up_to

    async def _ephemeral(self, typing: dict[str, list[str]], after: int, up_to: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for room_id, user_ids in typing.items():
            if await self._cares_for_room(room_id):
                found.append({"type": "m.typing", "room_id": room_id, "content": {"user_ids": user_ids}})
        for room_id, receipts in (await self._rooms.receipts.list_stream(after, up_to)).items():
            public = [one for one in receipts if one.receipt_type == READ]
            if public and await self._cares_for_room(room_id):
                for content in receipts_contents(public, self._appservice.sender):
                    found.append({"type": "m.receipt", "room_id": room_id, "content": content})  # noqa: PERF401
        return found

    async def _is_interested(self, stored: StoredEvent) -> bool:
        event = stored.event
        appservice = self._appservice
        if appservice.cares_for_user(event.sender):
            return True
        if event.type == "m.room.member" and event.state_key and appservice.cares_for_user(event.state_key):
            return True
        return await self._cares_for_room(event.room_id)

    async def _cares_for_room(self, room_id: str) -> bool:
        """Whether the room, one of its names or one of its members is in the service's namespaces."""
        appservice = self._appservice
        if appservice.rooms.matches(room_id):
            return True
        room = await self._rooms.live.find(room_id)
        if room is None:
            return False
        known = self._interest.get(room_id)
        if known is not None and known[0] == room.members_changed:
            return known[1]
        cares = any(appservice.cares_for_user(member) for member in room.joined_members())
        if not cares and (appservice.aliases.shared or appservice.aliases.exclusive):
            aliases = await self._rooms.aliases.names_of(room_id)
            cares = any(appservice.aliases.matches(alias) for alias in aliases)
        if len(self._interest) > 10_000:
            self._interest.clear()
        self._interest[room_id] = (room.members_changed, cares)
        return cares
