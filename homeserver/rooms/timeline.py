"""Reading a room's past: pages of it, what surrounds an event, single events, the event of a time.

Spec: Client-Server API, "Getting events for a room", "Event context", "Jump to date".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from homeserver.protocol.errors import NotFound, NotInRoom
from homeserver.protocol.filters import RoomEventFilter
from homeserver.rooms.aggregations import Aggregations
from homeserver.rooms.client_events import EventSerializer, Reader
from homeserver.rooms.live_room import MEMBER, LiveRoom, LiveRooms
from homeserver.rooms.remote import RemoteServers
from homeserver.rooms.tokens import place_after, place_before
from homeserver.rooms.visibility import RoomVisibility, has_expired
from homeserver.storage.events import ACCEPTED, OUTLIER, WITHOUT_A_PLACE, EventStore, StoredEvent
from homeserver.storage.relations import RelationStore
from homeserver.storage.rooms import RoomStore

MAX_FETCHED: Final = 3
"""How many pages of a room's past are fetched from other servers for one page of ours."""
MAX_REACHED: Final = 10
"""How many pages are fetched to reach an event that lies further back."""
MAX_SCANNED: Final = 2_000
"""How many stored events one page looks at, when a filter or the history visibility hides most of them."""


@dataclass(frozen=True, slots=True)
class Page:
    """Events in the order asked for, the tokens of its two ends (`end` None: nothing more), and members of senders."""

    chunk: list[msgspec.Raw]
    start: str
    end: str | None
    state: list[msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Context:
    """An event with its surroundings: `before` newest first, `after` oldest first, `state` as of the last of them."""

    event: msgspec.Raw
    before: list[msgspec.Raw]
    after: list[msgspec.Raw]
    state: list[msgspec.Raw]
    start: str
    end: str


class Timeline:
    """Reads rooms for clients."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        store: RoomStore,
        events: EventStore,
        relations: RelationStore,
        remote: RemoteServers,
        visibility: RoomVisibility,
        aggregations: Aggregations,
        serializer: EventSerializer,
    ) -> None:
        self._rooms = rooms
        self._store = store
        self._events = events
        self._relations = relations
        self._remote = remote
        self._visibility = visibility
        self._aggregations = aggregations
        self._serializer = serializer

    async def get_event(self, reader: Reader, room_id: str, event_id: str) -> msgspec.Raw:
        """One event. NotFound alike for events that do not exist and those that the reader may not see (G08, G12)."""
        room, stored, membership = await self._find_anywhere(reader.user_id, room_id, event_id)
        return (await self.serialize(room, [(stored, membership)], reader))[0]

    async def find_visible(self, user_id: str, room_id: str, event_id: str) -> tuple[LiveRoom, StoredEvent, str]:
        """(room, event, the user's membership then). Raises NotFound."""
        room = await self._rooms.find(room_id)
        if room is not None:
            found = await self._events.find_events(room_id, room.version, [event_id])
            for stored, membership in await self._visibility.filter(room, user_id, found):
                return room, stored, membership
        raise NotFound("The event was not found, or you may not see it")

    async def _find_anywhere(self, user_id: str, room_id: str, event_id: str) -> tuple[LiveRoom, StoredEvent, str]:
        """As `find_visible`, also for what other servers must be asked for.

        The state before such an event is not known here. So it is for members alone, and of rooms that have never
        hidden anything from those; and what nobody of this server may see, the other servers do not tell.
        """
        try:
            return await self.find_visible(user_id, room_id, event_id)
        except NotFound:
            room = await self._rooms.find(room_id)
            if room is None or room.membership(user_id) != "join":
                raise
            if not await self._visibility.is_open_to_members(room):
                raise
            stored = await self._remote.fetch_event(room, event_id)
            oldest_ms = self._visibility.oldest_ms(room)
            if stored is None or stored.status != OUTLIER or (oldest_ms and has_expired(stored, oldest_ms)):
                raise
            return room, stored, "leave"

    async def _reach(self, room: LiveRoom, event_id: str) -> bool:
        """Fetch the room's past until an event of it has its place; whether it has."""
        for _ in range(MAX_REACHED):
            found = await self._events.find_events(room.room_id, room.version, [event_id])
            if found and found[0].status == ACCEPTED:
                return True
            if not await self._remote.backfill(room):
                break
        return False

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
        """A page of the room's timeline from a place on (None: from its end or its beginning).

        A `limit` of zero gives no events, and an end that is the start: whoever asks so gets on no further.
        """
        room = await self._readable_room(reader.user_id, room_id)
        place = start
        if place is None:
            place = self._store.position if backwards else 0
        if backwards:
            place = min(place, await self._last_visible_place(room, reader.user_id))
        first = place_after(place)
        view = await self._visibility.view(room, reader.user_id)
        found: list[tuple[StoredEvent, str]] = []
        scanned, fetched, exhausted = 0, 0, False
        while len(found) < limit and scanned < MAX_SCANNED and not exhausted:
            wanted = min(max(2 * (limit - len(found)), 20), 500)
            part = await self._events.list_timeline(
                room_id,
                room.version,
                before=place + 1 if backwards else until if until is None else until + 1,
                after=until if backwards else place,
                limit=wanted,
                newest_first=backwards,
            )
            exhausted = len(part) < wanted
            if exhausted and backwards and until is None:
                if fetched == MAX_FETCHED:  # it goes on with the next page, however much was hidden of this (A16)
                    exhausted = not part and not await self._remote.backfill(room)
                    break
                fetched += 1
                exhausted = not await self._remote.backfill(room)
                view = await self._visibility.view(room, reader.user_id)  # what was fetched has a past of its own
            for stored in part:
                scanned += 1
                place = stored.position - 1 if backwards else stored.position
                if view.shows(stored) and await self._passes(stored, event_filter):
                    found.append((stored, view.membership_at(stored.position)))
                    if len(found) == limit:
                        exhausted = exhausted and stored is part[-1]
                        break
        state: list[msgspec.Raw] = []
        if event_filter.lazy_load_members and found:
            state = await self.members_of(room, [stored for stored, _ in found], reader)
        chunk = await self.serialize(room, found, reader)
        return Page(chunk, first, None if exhausted else place_after(place), state)

    async def context(
        self, reader: Reader, room_id: str, event_id: str, *, limit: int, event_filter: RoomEventFilter
    ) -> Context:
        """An event with up to `limit` events around it. Raises NotFound."""
        room, target, membership = await self._find_anywhere(reader.user_id, room_id, event_id)
        if target.status == OUTLIER:
            if not await self._reach(room, event_id):
                return await self._context_of_outlier(reader, room, target, membership)
            room, target, membership = await self.find_visible(reader.user_id, room_id, event_id)
        view = await self._visibility.view(room, reader.user_id)
        earlier = await self._around(room, target.position, limit // 2, event_filter, backwards=True)
        later = await self._around(room, target.position, limit - limit // 2, event_filter, backwards=False)
        before = [(one, view.membership_at(one.position)) for one in earlier if view.shows(one)]
        after = [(one, view.membership_at(one.position)) for one in later if view.shows(one)]
        last = after[-1][0] if after else target
        oldest = before[-1][0] if before else target
        ids = await self._store.list_state_ids_at(room_id, last.position)
        senders = {one.event.sender for one, _ in (*before, (target, membership), *after)}
        wanted = [
            state_id
            for (event_type, state_key), state_id in ids.items()
            if not (event_filter.lazy_load_members and event_type == MEMBER and state_key not in senders)
        ]
        state = await self._events.find_events(room_id, room.version, wanted)
        return Context(
            event=(await self.serialize(room, [(target, membership)], reader))[0],
            before=await self.serialize(room, before, reader),
            after=await self.serialize(room, after, reader),
            state=[
                self._serializer.serialize(one, reader)
                for one in sorted(state, key=lambda one: one.position)
                if event_filter.matches_event(one.event)
            ],
            start=place_before(oldest.position),
            end=place_after(last.position),
        )

    async def _context_of_outlier(
        self, reader: Reader, room: LiveRoom, target: StoredEvent, membership: str
    ) -> Context:
        """An event further back than what can be fetched at once: what surrounds it lies before all that is here."""
        first = await self._events.list_timeline(room.room_id, room.version, limit=1, newest_first=False)
        token = place_before(first[0].position) if first else place_after(self._store.position)
        event = (await self.serialize(room, [(target, membership)], reader))[0]
        return Context(event, [], [], [], token, token)

    async def event_at(self, user_id: str, room_id: str, timestamp_ms: int, *, forward: bool) -> tuple[str, int]:
        """(event id, its origin_server_ts) of the event nearest to a time in one direction. Raises NotFound."""
        room = await self._readable_room(user_id, room_id)
        nearest = await self._events.list_nearest(room_id, timestamp_ms, forward=forward, limit=MAX_SCANNED)
        view = await self._visibility.view(room, user_id)
        here: StoredEvent | None = None
        for start in range(0, len(nearest), 50):
            part = [event_id for event_id, _ in nearest[start : start + 50]]
            found = await self._events.find_events(room_id, room.version, part)
            shown = {stored.event_id: stored for stored in found if view.shows(stored)}
            here = next((shown[event_id] for event_id in part if event_id in shown), None)
            if here is not None:
                break
        if room.membership(user_id) == "join" and await self._may_be_nearer_elsewhere(room, here, forward=forward):
            there = await self._remote.event_near(room, timestamp_ms, forward=forward)
            if there is not None and _is_nearer(there, here, timestamp_ms):
                await self._reach(room, there.event_id)
                here = await self._seen_elsewhere(user_id, room_id, there.event_id) or here
        if here is None:
            raise NotFound(f"There is no event {'after' if forward else 'before'} {timestamp_ms}")
        return here.event_id, here.event.origin_server_ts

    async def _seen_elsewhere(self, user_id: str, room_id: str, event_id: str) -> StoredEvent | None:
        try:
            return (await self._find_anywhere(user_id, room_id, event_id))[1]
        except NotFound:
            return None

    async def _may_be_nearer_elsewhere(self, room: LiveRoom, here: StoredEvent | None, *, forward: bool) -> bool:
        """Whether what is missing here may lie between a time and the event found: looking forward, when some event
        that this one follows is missing; looking back, when there is none."""
        if not await self._visibility.is_open_to_members(room):
            return False
        if here is None or not forward:
            return here is None and not forward
        placed = await self._events.find_events(room.room_id, room.version, list(here.event.prev_events))
        known = {stored.event_id for stored in placed if stored.status not in WITHOUT_A_PLACE}
        return any(event_id not in known for event_id in here.event.prev_events)

    async def serialize(
        self, room: LiveRoom, events: Sequence[tuple[StoredEvent, str]], reader: Reader, *, with_room_id: bool = True
    ) -> list[msgspec.Raw]:
        """Events with their bundled aggregations, for a reader who had these memberships when they were sent."""
        bundled = await self._aggregations.of_events(room, [stored for stored, _ in events], reader)
        return [
            self._serializer.serialize(
                stored,
                Reader(reader.user_id, reader.device_id, membership),
                with_room_id=with_room_id,
                relations=bundled.get(stored.event_id),
            )
            for stored, membership in events
        ]

    async def members_of(self, room: LiveRoom, events: Sequence[StoredEvent], reader: Reader) -> list[msgspec.Raw]:
        """The member events of those who sent `events`, for lazily loading clients."""
        senders = dict.fromkeys(stored.event.sender for stored in events)
        members = await self._rooms.load_member_events(room, senders)
        if room.partial is not None and len(members) < len(senders):
            # Those who are not known yet are as their own events name them.
            named = [one for stored in events if stored.event.sender not in members for one in stored.event.auth_events]
            for stored in await self._events.find_events(room.room_id, room.version, list(dict.fromkeys(named))):
                if stored.event.type == MEMBER and stored.event.state_key in senders:
                    members.setdefault(stored.event.state_key, stored)
        return [self._serializer.serialize(members[sender], reader) for sender in senders if sender in members]

    # ---- how

    async def _readable_room(self, user_id: str, room_id: str) -> LiveRoom:
        room = await self._rooms.find(room_id)
        if room is None or not await self._visibility.may_read(room, user_id):
            raise NotInRoom()
        return room

    async def _last_visible_place(self, room: LiveRoom, user_id: str) -> int:
        """Where the room ends for somebody who left it."""
        if room.membership(user_id) == "join" or room.history_visibility == "world_readable":
            return self._store.position
        left_at = (await self._visibility.view(room, user_id)).left_at
        return self._store.position if left_at is None else left_at

    async def _around(
        self, room: LiveRoom, place: int, limit: int, event_filter: RoomEventFilter, *, backwards: bool
    ) -> list[StoredEvent]:
        if limit <= 0:
            return []
        found = await self._events.list_timeline(
            room.room_id,
            room.version,
            before=place if backwards else None,
            after=None if backwards else place,
            limit=limit if event_filter.passes_all else limit * 10,
            newest_first=backwards,
        )
        return [one for one in found if event_filter.matches_event(one.event)][:limit]

    async def _passes(self, stored: StoredEvent, event_filter: RoomEventFilter) -> bool:
        if not event_filter.matches_event(stored.event):
            return False
        if not event_filter.asks_for_children:
            return True
        return event_filter.matches_children(await self._relations.list_children(stored.event_id))


def _is_nearer(there: StoredEvent, here: StoredEvent | None, timestamp_ms: int) -> bool:
    if here is None:
        return True
    return abs(there.event.origin_server_ts - timestamp_ms) < abs(here.event.origin_server_ts - timestamp_ms)
