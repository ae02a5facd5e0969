"""Searching the rooms that a user may see. Spec: Client-Server API, "Server-side Search"."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from homeserver.protocol.errors import InvalidParam
from homeserver.protocol.filters import DEFAULT_ROOM_EVENT_FILTER, RoomEventFilter
from homeserver.protocol.search_tokens import highlights, query_terms
from homeserver.rooms.client_events import EventSerializer, Reader
from homeserver.rooms.live_room import MEMBER, LiveRoom, LiveRooms
from homeserver.rooms.search_index import KEYS, SearchIndex, hashed_groups
from homeserver.rooms.state import RoomState
from homeserver.rooms.timeline import Timeline
from homeserver.rooms.tokens import place_after, place_before
from homeserver.rooms.visibility import RoomView, RoomVisibility
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.relations import RelationStore
from homeserver.storage.rooms import RoomStore
from homeserver.storage.search import Match, SearchStore

MAX_MATCHES: Final = 500
"""How many of the newest matches one request looks at (D18)."""
MAX_TERM_LENGTH: Final = 1_000
Group = Literal["room_id", "sender"]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to search for. `before_limit` None: no surroundings of the found events."""

    term: str
    keys: Sequence[str] = tuple(key for key, _ in KEYS.values())
    event_filter: RoomEventFilter = DEFAULT_ROOM_EVENT_FILTER
    order_by: Literal["rank", "recent"] = "rank"
    limit: int = 10
    before_limit: int | None = None
    after_limit: int = 0
    include_profile: bool = False
    include_state: bool = False
    group_by: Sequence[Group] = ()
    next_batch: str | None = None


class _Token(msgspec.Struct, array_like=True):
    """Where the next page begins: `offset` into the ranked matches that are not newer than `newest`, or, by time,
    before `newest`. `group` and `value` keep to one group."""

    order: str
    newest: int
    offset: int = 0
    group: str = ""
    value: str = ""


@dataclass(slots=True)
class _Room:
    room: LiveRoom
    view: RoomView
    left_at: int | None


@dataclass(slots=True)
class _Hit:
    match: Match
    stored: StoredEvent
    where: _Room


@dataclass(slots=True)
class SearchResults:
    """The members of `room_events` in the answer."""

    count: int = 0
    results: list[dict[str, Any]] = field(default_factory=list)
    highlights: list[str] = field(default_factory=list)
    state: dict[str, list[msgspec.Raw]] = field(default_factory=dict)
    groups: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    next_batch: str | None = None


class Search:
    """Answers POST /search."""

    def __init__(
        self,
        *,
        index: SearchIndex,
        store: SearchStore,
        rooms: LiveRooms,
        room_store: RoomStore,
        events: EventStore,
        relations: RelationStore,
        visibility: RoomVisibility,
        timeline: Timeline,
        state: RoomState,
        serializer: EventSerializer,
    ) -> None:
        self._index = index
        self._store = store
        self._rooms = rooms
        self._room_store = room_store
        self._events = events
        self._relations = relations
        self._visibility = visibility
        self._timeline = timeline
        self._state = state
        self._serializer = serializer

    async def search(
        self, reader: Reader, request: SearchRequest, ignored: frozenset[str] = frozenset()
    ) -> SearchResults:
        """Find events whose words match. Raises InvalidParam for a token that is not one of ours."""
        token = None if request.next_batch is None else _parse_token(request.next_batch, request.order_by)
        results = SearchResults(highlights=highlights(request.term[:MAX_TERM_LENGTH]))
        groups = query_terms(request.term[:MAX_TERM_LENGTH])
        if not groups:
            return results
        secret = await self._index.catch_up()
        only_room = token.value if token is not None and token.group == "room_id" else None
        rooms = await self._rooms_of(reader.user_id, request.event_filter, only_room)
        before = None
        if token is not None:
            before = token.newest if request.order_by == "recent" else token.newest + 1
        matches = await self._store.list_matches(
            hashed_groups(secret, groups),
            list(rooms),
            request.keys,
            before=before,
            sender=token.value if token is not None and token.group == "sender" else None,
            limit=MAX_MATCHES,
        )
        hits = await self._visible(matches, rooms, request.event_filter, ignored)
        results.count = len(hits)
        offset = 0
        if request.order_by == "rank":
            hits.sort(key=lambda hit: (hit.match.rank, hit.match.position), reverse=True)
            offset = 0 if token is None else token.offset
        page = hits[offset : offset + request.limit]
        for hit in page:
            results.results.append(await self._result(hit, reader, request))
        newest = max((match.position for match in matches), default=0)
        if token is not None and request.order_by == "rank":
            newest = token.newest
        if page and (len(hits) > offset + len(page) or (request.order_by == "recent" and len(matches) == MAX_MATCHES)):
            results.next_batch = _token(_next(request, token, page, newest, offset))
        elif not page and request.order_by == "recent" and len(matches) == MAX_MATCHES:
            results.next_batch = _token(_Token("recent", matches[-1].position))
        for key in request.group_by:
            results.groups[key] = _grouped(key, page, hits[offset + len(page) :], request, newest)
        if request.include_state:
            for room_id in dict.fromkeys(hit.match.room_id for hit in page):
                results.state[room_id] = await self._state.list_state(reader, room_id)
        return results

    async def _rooms_of(self, user_id: str, event_filter: RoomEventFilter, only_room: str | None) -> dict[str, _Room]:
        """The rooms that the user is in, or has left and not forgotten, as far as the filter lets them pass."""
        found: dict[str, _Room] = {}
        for row in await self._room_store.list_memberships(user_id):
            if row.forgotten or not event_filter.allows_room(row.room_id) or only_room not in (None, row.room_id):
                continue
            room = await self._rooms.find(row.room_id)
            if room is None:
                continue
            view = await self._visibility.view(room, user_id)
            if row.membership == "join" or view.was_joined:
                found[row.room_id] = _Room(room, view, None if row.membership == "join" else view.left_at)
        return found

    async def _visible(
        self,
        matches: Sequence[Match],
        rooms: dict[str, _Room],
        event_filter: RoomEventFilter,
        ignored: frozenset[str],
    ) -> list[_Hit]:
        by_room: dict[str, list[str]] = {}
        for match in matches:
            by_room.setdefault(match.room_id, []).append(match.event_id)
        stored: dict[str, StoredEvent] = {}
        for room_id, event_ids in by_room.items():
            for one in await self._events.find_events(room_id, rooms[room_id].room.version, event_ids):
                stored[one.event_id] = one
        hits: list[_Hit] = []
        for match in matches:
            found, where = stored.get(match.event_id), rooms[match.room_id]
            if (
                found is None
                or found.redacted_because is not None
                or found.event.sender in ignored
                or not where.view.shows(found)
                or (where.left_at is not None and found.position > where.left_at)
                or not event_filter.matches_event(found.event)
            ):
                continue
            if event_filter.asks_for_children and not event_filter.matches_children(
                await self._relations.list_children(found.event_id)
            ):
                continue
            hits.append(_Hit(match, found, where))
        return hits

    async def _result(self, hit: _Hit, reader: Reader, request: SearchRequest) -> dict[str, Any]:
        where = hit.where
        membership = where.view.membership_at(hit.stored.position)
        event = (await self._timeline.serialize(where.room, [(hit.stored, membership)], reader))[0]
        result: dict[str, Any] = {"rank": hit.match.rank, "result": event}
        if request.before_limit is not None:
            result["context"] = await self._context(hit, reader, request.before_limit, request)
        return result

    async def _context(self, hit: _Hit, reader: Reader, before_limit: int, request: SearchRequest) -> dict[str, Any]:
        room, view, position = hit.where.room, hit.where.view, hit.stored.position
        before = await self._around(hit, position, None, before_limit)
        after = await self._around(hit, None, position, request.after_limit)
        oldest, newest = before[-1] if before else hit.stored, after[-1] if after else hit.stored
        context: dict[str, Any] = {
            "start": place_before(oldest.position),
            "end": place_after(newest.position),
            "events_before": await self._timeline.serialize(
                room, [(one, view.membership_at(one.position)) for one in before], reader
            ),
            "events_after": await self._timeline.serialize(
                room, [(one, view.membership_at(one.position)) for one in after], reader
            ),
        }
        if request.include_profile:
            senders = {one.event.sender for one in (*before, hit.stored, *after)}
            context["profile_info"] = await self._profiles(room, position, senders)
        return context

    async def _around(self, hit: _Hit, before: int | None, after: int | None, limit: int) -> list[StoredEvent]:
        if limit <= 0:
            return []
        room = hit.where.room
        if before is None and hit.where.left_at is not None:
            before = hit.where.left_at + 1
        found = await self._events.list_timeline(
            room.room_id, room.version, before=before, after=after, limit=limit, newest_first=after is None
        )
        return [one for one in found if hit.where.view.shows(one)]

    async def _profiles(self, room: LiveRoom, position: int, senders: Iterable[str]) -> dict[str, dict[str, str]]:
        """The names and pictures that people had in the room then."""
        keys = [(MEMBER, sender) for sender in senders]
        ids = await self._room_store.list_state_ids_at(room.room_id, position, keys=keys)
        profiles: dict[str, dict[str, str]] = {}
        for stored in await self._events.find_events(room.room_id, room.version, list(ids.values())):
            content, user_id = stored.event.content, stored.event.state_key
            assert user_id is not None
            profiles[user_id] = {
                name: content[name] for name in ("displayname", "avatar_url") if isinstance(content.get(name), str)
            }
        return profiles


def _next(request: SearchRequest, token: _Token | None, page: Sequence[_Hit], newest: int, offset: int) -> _Token:
    group, value = ("", "") if token is None else (token.group, token.value)
    if request.order_by == "recent":
        return _Token("recent", page[-1].match.position, 0, group, value)
    return _Token("rank", newest, offset + len(page), group, value)


def _grouped(
    key: Group, page: Sequence[_Hit], rest: Sequence[_Hit], request: SearchRequest, newest: int
) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for order, hit in enumerate(page):
        value = hit.match.room_id if key == "room_id" else hit.match.sender
        group = groups.setdefault(value, {"order": order, "results": []})
        group["results"].append(hit.match.event_id)
    for hit in rest:
        found = groups.get(hit.match.room_id if key == "room_id" else hit.match.sender)
        if found is not None and "next_batch" not in found:
            value = hit.match.room_id if key == "room_id" else hit.match.sender
            last = page[-1].match.position
            shown = len(found["results"])
            found["next_batch"] = _token(
                _Token("recent", last, 0, key, value)
                if request.order_by == "recent"
                else _Token("rank", newest, shown, key, value)
            )
    return groups


def _token(token: _Token) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _parse_token(text: str, order: str) -> _Token:
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidParam("next_batch is not a token of this server") from None
    if token.order != order or token.offset < 0 or abs(token.newest) > 2**53:
        raise InvalidParam("next_batch is a token of another search")
    return token
