"""Reading what relates to an event, and the threads of a room, page by page.

Spec: Client-Server API, "Relationships API", "Querying threads in a room".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from homeserver.protocol.errors import Forbidden
from homeserver.protocol.events import Event
from homeserver.protocol.redaction import redact
from homeserver.rooms.aggregations import Aggregations
from homeserver.rooms.client_events import EventSerializer, Reader
from homeserver.rooms.live_room import LiveRoom, LiveRooms
from homeserver.rooms.timeline import Timeline
from homeserver.rooms.tokens import place_after, place_before
from homeserver.rooms.visibility import RoomView, RoomVisibility
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.relations import RelationStore

MAX_RECURSION: Final = 3
""" "Homeservers SHOULD traverse at least 3 levels of relationships." """
MAX_DESCENDANTS: Final = 10_000
"""Of one event, when relations are followed over several levels (A22)."""
MAX_SCANNED: Final = 2_000


@dataclass(frozen=True, slots=True)
class RelatedPage:
    """Related events. `depth`: levels that were followed, None when that was not asked for."""

    chunk: list[msgspec.Raw]
    next_batch: str | None
    prev_batch: str | None
    depth: int | None


@dataclass(frozen=True, slots=True)
class RelationQuery:
    """What is asked of one event's relations. `start` and `until` are places in the stream."""

    event_id: str
    relation: str | None = None
    event_type: str | None = None
    start: int | None = None
    until: int | None = None
    limit: int = 5
    backwards: bool = True
    recurse: bool = False


class RelatedEvents:
    """Answers /relations and /threads."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        events: EventStore,
        store: RelationStore,
        visibility: RoomVisibility,
        timeline: Timeline,
        aggregations: Aggregations,
        serializer: EventSerializer,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._store = store
        self._visibility = visibility
        self._timeline = timeline
        self._aggregations = aggregations
        self._serializer = serializer

    async def page(
        self, reader: Reader, room_id: str, query: RelationQuery, ignored: frozenset[str] = frozenset()
    ) -> RelatedPage:
        """The events that relate to one that the reader may see. Raises NotFound for all others alike (G08)."""
        room, _, _ = await self._timeline.find_visible(reader.user_id, room_id, query.event_id)
        view = await self._visibility.view(room, reader.user_id)
        descendants, depth = await self._descendants(room, query) if query.recurse else (None, None)
        found: list[StoredEvent] = []
        place, scanned, exhausted = query.start, 0, False
        while len(found) <= query.limit and scanned < MAX_SCANNED and not exhausted:
            wanted = query.limit + 1 - len(found) + 20
            part = await self._part(room, query, place, wanted, descendants)
            exhausted = len(part) < wanted
            for stored in part:
                scanned += 1
                place = stored.position - 1 if query.backwards else stored.position
                if view.shows(stored) and stored.event.sender not in ignored:
                    found.append(stored)
                    if len(found) > query.limit:
                        break
        next_batch = None
        if len(found) > query.limit:
            last = found[query.limit - 1].position
            next_batch = place_before(last) if query.backwards else place_after(last)
        elif not exhausted and place is not None:
            next_batch = place_after(place)
        chunk = await self._serialize(room, found[: query.limit], view, reader, ignored)
        prev_batch = None if query.start is None else place_after(query.start)
        return RelatedPage(chunk, next_batch, prev_batch, depth)

    async def _part(
        self,
        room: LiveRoom,
        query: RelationQuery,
        place: int | None,
        limit: int,
        descendants: dict[str, int] | None,
    ) -> list[StoredEvent]:
        """The next events from a place on, in the order asked for."""
        newer_than = query.until if query.backwards else place
        older_than = place if query.backwards else query.until
        before = None if older_than is None else older_than + 1
        if descendants is None:
            return await self._store.list_related(
                room.room_id,
                room.version,
                query.event_id,
                relation=query.relation,
                event_type=query.event_type,
                after=newer_than,
                before=before,
                limit=limit,
                newest_first=query.backwards,
            )
        ordered = sorted(
            (
                (position, event_id)
                for event_id, position in descendants.items()
                if (newer_than is None or position > newer_than) and (before is None or position < before)
            ),
            reverse=query.backwards,
        )[:limit]
        stored = await self._events.find_events(room.room_id, room.version, [event_id for _, event_id in ordered])
        return sorted(stored, key=lambda one: one.position, reverse=query.backwards)

    async def _descendants(self, room: LiveRoom, query: RelationQuery) -> tuple[dict[str, int], int]:
        """Position by id of the events below one that match, and how deep it was looked. Each is visited once."""
        visited = {query.event_id}
        matching: dict[str, int] = {}
        level, depth = [query.event_id], 0
        while level and depth < MAX_RECURSION and len(visited) <= MAX_DESCENDANTS:
            children = await self._store.list_child_ids(room.room_id, level, limit=MAX_DESCENDANTS)
            level = []
            for event_id, relation, event_type, position in children:
                if event_id in visited:
                    continue
                visited.add(event_id)
                level.append(event_id)
                if query.relation in (None, relation) and query.event_type in (None, event_type):
                    matching[event_id] = position
            depth += 1
        return matching, depth

    async def threads(
        self,
        reader: Reader,
        room_id: str,
        *,
        include: Literal["all", "participated"],
        start: int | None,
        limit: int,
        ignored: frozenset[str] = frozenset(),
    ) -> tuple[list[msgspec.Raw], str | None]:
        """(the roots of the room's threads, the most recently answered first; the next page's token)."""
        room = await self._rooms.find(room_id)
        if room is None or not await self._visibility.may_read(room, reader.user_id):
            raise Forbidden("You are not allowed to view this room")
        view = await self._visibility.view(room, reader.user_id)
        left_at = None if room.membership(reader.user_id) == "join" else view.left_at
        place = start if left_at is None else min(left_at, left_at if start is None else start)
        found: list[tuple[StoredEvent, int]] = []
        scanned, exhausted = 0, False
        while len(found) <= limit and scanned < MAX_SCANNED and not exhausted:
            wanted = limit + 1
            rows = await self._store.list_thread_roots(
                room_id,
                before=None if place is None else place + 1,
                limit=wanted,
                participant=reader.user_id if include == "participated" else None,
            )
            exhausted = len(rows) < wanted
            roots = {
                one.event_id: one
                for one in await self._events.find_events(room_id, room.version, [root_id for root_id, _ in rows])
            }
            for root_id, newest in rows:
                scanned += 1
                place = newest - 1
                root = roots.get(root_id)
                if root is not None and view.shows(root):
                    found.append((root, newest))
                    if len(found) > limit:
                        break
        shown = found[:limit]
        next_batch = None
        if len(found) > limit:
            next_batch = place_before(shown[-1][1])
        elif not exhausted and place is not None:
            next_batch = place_after(place)
        chunk = await self._serialize(room, [_root(one, ignored) for one, _ in shown], view, reader, ignored)
        return chunk, next_batch

    async def _serialize(
        self, room: LiveRoom, events: list[StoredEvent], view: RoomView, reader: Reader, ignored: frozenset[str]
    ) -> list[msgspec.Raw]:
        bundled = await self._aggregations.of_events(room, events, reader, ignored=ignored)
        return [
            self._serializer.serialize(
                one,
                Reader(reader.user_id, reader.device_id, view.membership_at(one.position)),
                relations=bundled.get(one.event_id),
            )
            for one in events
        ]


def _root(stored: StoredEvent, ignored: frozenset[str]) -> StoredEvent:
    """ "If the thread root event was sent by an ignored user, the event is returned redacted to the caller." """
    if stored.event.sender not in ignored:
        return stored
    event = stored.event
    emptied = Event(redact(event.pdu, event.room_version), event.room_version, event.event_id)
    return StoredEvent(emptied, stored.position, status=stored.status)
