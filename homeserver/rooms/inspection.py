"""Rooms as operators see them: what is stored, whoever may see it. For looking into reports, not for reading along."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from homeserver.protocol.errors import NotFound
from homeserver.protocol.events import Event
from homeserver.protocol.filters import RoomEventFilter
from homeserver.rooms.aliases import Aliases
from homeserver.rooms.client_events import EventSerializer, Reader
from homeserver.rooms.live_room import LiveRoom, LiveRooms
from homeserver.rooms.timeline import Context, Page
from homeserver.rooms.tokens import place_after, place_before
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.rooms import RoomStore

BEFORE_EVERYTHING: Final = -(2**62)
"""A place before every event: history that was fetched from other servers has negative ones."""


class Inspection:
    """Reads rooms without asking for membership."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        store: RoomStore,
        events: EventStore,
        aliases: Aliases,
        serializer: EventSerializer,
        server_name: str,
    ) -> None:
        self._rooms = rooms
        self._store = store
        self._events = events
        self._aliases = aliases
        self._serializer = serializer
        self.server_name = server_name

    async def room(self, room_id: str) -> LiveRoom:
        """Raises NotFound."""
        found = await self._rooms.find(room_id)
        if found is None:
            raise NotFound("This server does not know the room.")
        return found

    async def room_id_of(self, room_id_or_alias: str) -> str:
        """The id of a room that is named by id or alias. Raises NotFound."""
        if room_id_or_alias.startswith("#"):
            return (await self._aliases.get(room_id_or_alias))[0]
        return room_id_or_alias

    async def members(self, room_id: str) -> list[str]:
        """Who is joined."""
        return sorted((await self.room(room_id)).joined_members())

    async def state(self, reader: Reader, room_id: str, event_type: str | None) -> list[msgspec.Raw]:
        """The current state, or what of it has one type."""
        room = await self.room(room_id)
        found = await self._rooms.state(room)
        return [
            self._serializer.serialize(stored, reader)
            for stored in sorted(found, key=lambda one: one.position)
            if event_type is None or stored.event.type == event_type
        ]

    async def messages(
        self,
        reader: Reader,
        room_id: str,
        *,
        start: int | None,
        until: int | None,
        backwards: bool,
        limit: int,
        event_filter: RoomEventFilter,
    ) -> Page:
        """A page of the timeline, as `Timeline.messages`."""
        room = await self.room(room_id)
        place = start if start is not None else (self._store.position if backwards else 0)
        first = place_after(place)
        found: list[StoredEvent] = []
        exhausted = False
        while len(found) < limit and not exhausted:
            wanted = max(limit, 20)
            part = await self._events.list_timeline(
                room_id,
                room.version,
                before=place + 1 if backwards else None if until is None else until + 1,
                after=until if backwards else place,
                limit=wanted,
                newest_first=backwards,
            )
            exhausted = len(part) < wanted
            for stored in part:
                place = stored.position - 1 if backwards else stored.position
                if event_filter.matches_event(stored.event):
                    found.append(stored)
                    if len(found) == limit:
                        exhausted = exhausted and stored is part[-1]
                        break
        chunk = [self._serializer.serialize(stored, reader) for stored in found]
        return Page(chunk, first, None if exhausted else place_after(place), [])

    async def context(self, reader: Reader, room_id: str, event_id: str, *, limit: int) -> Context:
        """An event with what surrounds it. Raises NotFound."""
        room, target = await self.find_event(event_id, room_id)
        before = await self._events.list_timeline(
            room_id, room.version, before=target.position, limit=limit // 2, newest_first=True
        )
        after = await self._events.list_timeline(
            room_id, room.version, after=target.position, limit=limit - limit // 2, newest_first=False
        )
        oldest, last = before[-1] if before else target, after[-1] if after else target
        ids = await self._store.list_state_ids_at(room_id, last.position)
        state = await self._events.find_events(room_id, room.version, list(ids.values()))
        return Context(
            event=self._serializer.serialize(target, reader),
            before=[self._serializer.serialize(one, reader) for one in before],
            after=[self._serializer.serialize(one, reader) for one in after],
            state=[self._serializer.serialize(one, reader) for one in sorted(state, key=lambda one: one.position)],
            start=place_before(oldest.position),
            end=place_after(last.position),
        )

    async def event_at(self, room_id: str, timestamp_ms: int, *, forward: bool) -> tuple[str, int]:
        """(event id, its time) of the nearest event in one direction. Raises NotFound."""
        await self.room(room_id)
        for found in await self._events.list_nearest(room_id, timestamp_ms, forward=forward, limit=1):
            return found
        raise NotFound(f"There is no event {'after' if forward else 'before'} {timestamp_ms}")

    async def find_event(self, event_id: str, room_id: str | None = None) -> tuple[LiveRoom, StoredEvent]:
        """An event by its id, of one room or of any. Raises NotFound."""
        room_id = await self._events.find_room_id(event_id) if room_id is None else room_id
        room = None if room_id is None else await self._rooms.find(room_id)
        if room is not None:
            for stored in await self._events.find_events(room.room_id, room.version, [event_id]):
                return room, stored
        raise NotFound("There is no such event.")

    async def extremities(self, room: LiveRoom) -> list[dict[str, Any]]:
        """The ends of the room's graph: one, as long as nobody else writes in the room."""
        row = await self._store.find_room(room.room_id)
        heads = [] if row is None else [str(head[0]) for head in row[2]]
        return [
            {
                "event_id": stored.event_id,
                "state_group": stored.position,
                "depth": stored.event.depth,
                "received_ts": stored.event.origin_server_ts,
            }
            for stored in await self._events.find_events(room.room_id, room.version, heads)
        ]

    async def media_of(self, room_id: str) -> list[str]:
        """Every mxc:// address that an unencrypted event of the room names, once, in the order of the events."""
        room = await self.room(room_id)
        found: dict[str, None] = {}
        place = BEFORE_EVERYTHING
        while part := await self._events.list_timeline(
            room_id, room.version, after=place, limit=500, newest_first=False
        ):
            place = part[-1].position
            for stored in part:
                for address in _addresses(stored.event):
                    found[address] = None
        return list(found)


def _addresses(event: Event) -> list[str]:
    """What the event names where events name files: `url`, the thumbnail, and avatars."""
    content = event.content
    info: Any = content.get("info")
    candidates = [content.get("url"), content.get("avatar_url")]
    if isinstance(info, dict):
        candidates.append(info.get("thumbnail_url"))
    return [one for one in candidates if isinstance(one, str) and one.startswith("mxc://")]
