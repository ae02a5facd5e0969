"""What a server is told that was away: of each room the newest, from which it asks for the rest itself.

So an outage of any length makes no flood. It is this server's own newest event, if the room still ends with it; else
the ends of the room as they are now, as far as the other server may see them, so that nobody works through branches
that are long past. A server whose users were removed meanwhile is told of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from federation.audiences import Audiences
from federation.serving import Serving
from homeserver.protocol.identifiers import domain_of
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.services import RoomServices
from homeserver.storage.destinations import DestinationStore
from homeserver.storage.events import ACCEPTED, StoredEvent

ROOMS_AT_ONCE: Final = 200
ENDS_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Part:
    """Events for one transaction. With them a server is told of all up to `up_to`; `is_last`: and nothing is left."""

    pdus: list[dict[str, Any]]
    up_to: int
    is_last: bool
    farewells_up_to: int | None = None


class CatchingUp:
    """Finds what to tell."""

    def __init__(
        self, store: DestinationStore, rooms: RoomServices, audiences: Audiences, serving: Serving, own_name: str
    ) -> None:
        self._store = store
        self._rooms = rooms
        self._audiences = audiences
        self._serving = serving
        self._own_name = own_name

    async def part(self, name: str, since: int, goal: int, limit: int) -> Part:
        """What `name` should hear of after `since`, at most about `limit` events. `goal`: the newest event that counts;
        what the database knows of our newest events goes at least that far."""
        farewells = await self._store.list_farewells(name, limit)
        if farewells:
            found = [pdu for one in farewells for pdu in await self._event_at(*one)]
            return Part(found, since, is_last=False, farewells_up_to=farewells[-1][1])
        pdus: list[dict[str, Any]] = []
        while True:
            rooms = await self._store.list_own_newest(since, ROOMS_AT_ONCE)
            for room_id, position in rooms:
                room = await self._rooms.live.find(room_id)
                if room is not None and name in self._audiences.of(room):
                    told = await self._of_room(room, name, since, position)
                    if pdus and len(pdus) + len(told) > limit:
                        return Part(pdus, since, is_last=False)
                    pdus += told
                since = position
            if len(rooms) < ROOMS_AT_ONCE:
                return Part(pdus, max(since, goal), is_last=True)

    async def _of_room(self, room: LiveRoom, name: str, since: int, newest: int) -> list[dict[str, Any]]:
        ends = [head.event_id for head in room.extremities]
        own = await self._stored_at(room, newest)
        found: list[dict[str, Any]] = []
        stored_ends = await self._rooms.events.find_events(room.room_id, room.version, ends[-ENDS_MAX:])
        if own is not None and own.event_id in ends:  # and so may be others of ours, of which none follows another
            ours = [one for one in stored_ends if domain_of(one.event.sender) == self._own_name]
            ours = sorted((one for one in ours if one.position > since), key=lambda one: one.position)
            return [one.event.pdu for one in ours] or [own.event.pdu]
        for stored in stored_ends:
            if stored.position > since and stored.status == ACCEPTED:
                (shown,) = await self._serving.visible(name, room, [stored])
                if shown is stored.event.pdu:
                    found.append(shown)
        return found or ([] if own is None else [own.event.pdu])

    async def _event_at(self, room_id: str, position: int) -> list[dict[str, Any]]:
        room = await self._rooms.live.find(room_id)
        stored = None if room is None else await self._stored_at(room, position)
        return [] if stored is None else [stored.event.pdu]

    async def _stored_at(self, room: LiveRoom, position: int) -> StoredEvent | None:
        found = await self._rooms.events.list_timeline(
            room.room_id, room.version, after=position - 1, before=position + 1, limit=1, newest_first=True
        )
        return found[0] if found else None
