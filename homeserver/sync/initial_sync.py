"""The ways of reading that came before /sync, which some clients still use: /initialSync and /events.

Spec: Client-Server API, "Old sync", "Room previews" (peeking with `/events?room_id=`).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from homeserver.clock import Clock
from homeserver.notifier import Notifier
from homeserver.protocol.errors import MatrixError, NotFound, NotInRoom
from homeserver.protocol.filters import DEFAULT_ROOM_EVENT_FILTER, Filter, RoomFilter
from homeserver.rooms.client_events import EventSerializer, Reader
from homeserver.rooms.live_room import LiveRooms
from homeserver.rooms.services import RoomServices
from homeserver.rooms.tokens import StreamToken
from homeserver.storage.events import StoredEvent
from homeserver.stream import Change, Stream
from homeserver.sync.request import SyncRequest
from homeserver.sync.sync import Sync
from homeserver.sync.user_rooms import UserRooms
from homeserver.users.requester import Requester
from homeserver.users.services import UserServices

PAGE: Final = 100
_NO_ROOMS: Final = Filter(room=RoomFilter(rooms=frozenset()))


class InitialSync:
    """Answers /initialSync, /rooms/{roomId}/initialSync and /events."""

    def __init__(
        self,
        *,
        users: UserServices,
        rooms: RoomServices,
        sync: Sync,
        user_rooms: UserRooms,
        stream: Stream,
        notifier: Notifier,
        clock: Clock,
    ) -> None:
        self._users = users
        self._rooms = rooms
        self._live: LiveRooms = rooms.live
        self._serializer: EventSerializer = rooms.serializer
        self._sync = sync
        self._user_rooms = user_rooms
        self._stream = stream
        self._notifier = notifier
        self._clock = clock
        self._peeking: dict[asyncio.Future[None], str] = {}
        stream.listen(self._changed)

    async def everything(self, requester: Requester, *, limit: int, archived: bool) -> dict[str, Any]:
        """The user's rooms, presence of others, and account data."""
        alone = Requester(requester.user_id)
        whole = await self._sync.sync(SyncRequest(alone, filter=_NO_ROOMS))
        reader = Reader(requester.user_id, requester.device_id)
        rooms: list[dict[str, Any]] = []
        for row in await self._rooms.memberships.memberships(requester.user_id):
            if row.forgotten or (row.membership not in ("join", "invite") and not archived):
                continue
            if row.membership == "invite":
                if await self._users.invite_permissions.hides(requester.user_id, row.sender):
                    continue
                rooms.append(await self._invited(reader, row.room_id))
                continue
            try:
                rooms.append(await self.room(reader, row.room_id, limit=limit))
            except MatrixError:
                continue  # left before it was ever joined, say
        return {
            "end": whole["next_batch"],
            "rooms": rooms,
            "presence": whole.get("presence", {}).get("events", []),
            "account_data": whole.get("account_data", {}).get("events", []),
        }

    async def room(self, reader: Reader, room_id: str, *, limit: int) -> dict[str, Any]:
        """One room: its state, its newest messages. Raises Forbidden for those who may not read it."""
        state = await self._rooms.state.list_state(reader, room_id)
        room = await self._live.get(room_id)
        page = await self._rooms.timeline.messages(
            reader,
            room_id,
            start=None,
            until=None,
            backwards=True,
            limit=limit,
            event_filter=DEFAULT_ROOM_EVENT_FILTER,
        )
        membership = room.membership(reader.user_id)
        published = await self._rooms.aliases.is_published(room_id)
        return {
            "room_id": room_id,
            "membership": membership if membership != "knock" else "leave",
            "visibility": "public" if published else "private",
            "messages": {"chunk": page.chunk[::-1], "start": page.end or page.start, "end": page.start},
            "state": state,
            "account_data": await self._account_data(reader.user_id, room_id),
            "presence": [],
            "receipts": [],
        }

    async def _account_data(self, user_id: str, room_id: str) -> list[dict[str, Any]]:
        changes = await self._users.account_data.list_changes(user_id, 0, self._stream.position)
        return [
            {"type": one.type, "content": msgspec.Raw(one.content.encode())}
            for one in changes
            if one.room_id == room_id
        ]

    async def _invited(self, reader: Reader, room_id: str) -> dict[str, Any]:
        body: dict[str, Any] = {"room_id": room_id, "membership": "invite"}
        room = await self._live.find(room_id)
        stored = None if room is None else await self._live.member_event(room, reader.user_id)
        if stored is not None:
            body["invite"] = self._serializer.serialize(stored, reader)
        return body

    async def events(
        self, reader: Reader, *, start: int | None, timeout_ms: int, room_id: str | None
    ) -> tuple[list[msgspec.Raw], str, str]:
        """(new events after a place, its token, the token to go on with); waits while there are none.

        Of the rooms that the user is in, or of one that they may read. Raises Forbidden. Events of rooms alone: the
        form of the answer has no room for who types, has read or is there.
        """
        deadline = self._clock.monotonic() + timeout_ms / 1000
        place = self._stream.position if start is None else start
        while True:
            memberships = await self._user_rooms.of_user(reader.user_id)
            waiter = self._notifier.expect(reader.user_id)
            if room_id is not None:
                self._peeking[waiter] = room_id
            try:
                now = self._stream.position
                ids = list(memberships.joined) if room_id is None else [room_id]
                found = await self._new_events(reader, ids, place, now, must_read=room_id is not None)
                remaining = deadline - self._clock.monotonic()
                if found or remaining <= 0 or not await self._notifier.wait_for(waiter, remaining):
                    end = now if len(found) < PAGE else found[-1].position
                    chunk = [self._serializer.serialize(one, reader) for one in found]
                    return chunk, str(StreamToken(place)), str(StreamToken(end))
            finally:
                waiter.cancel()
                self._peeking.pop(waiter, None)

    async def _new_events(
        self, reader: Reader, room_ids: list[str], after: int, up_to: int, *, must_read: bool
    ) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        for room_id in room_ids:
            if not must_read and not self._stream.changed_since(Change.EVENTS, room_id, after):
                continue
            room = await self._live.find(room_id)
            if room is None or not await self._rooms.visibility.may_read(room, reader.user_id):
                raise NotInRoom()
            events = await self._rooms.events.list_timeline(
                room_id, room.version, after=after, before=up_to + 1, limit=PAGE, newest_first=False
            )
            if events:
                view = await self._rooms.visibility.view(room, reader.user_id)
                found += [one for one in events if view.shows(one)]
        found.sort(key=lambda one: one.position)
        return found[:PAGE]

    async def event(self, reader: Reader, event_id: str) -> msgspec.Raw:
        """One event, in whatever room it is. NotFound alike for the missing and the unseen (G08)."""
        room_id = await self._rooms.events.find_room_id(event_id)
        if room_id is None:
            raise NotFound("The event was not found, or you may not see it")
        return await self._rooms.timeline.get_event(reader, room_id, event_id)

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is Change.EVENTS and self._peeking:
            for waiter, room_id in list(self._peeking.items()):
                if room_id in rooms and not waiter.done():
                    waiter.set_result(None)
