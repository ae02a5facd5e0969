"""Spaces: a page of the tree of rooms below one room. Spec: Client-Server API, "Spaces".

Of a room that this server is not in, the servers named by `via` are asked; a server that tells of a space tells of the
rooms below it too, and those are asked for only where they are spaces themselves.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from homeserver.protocol.errors import Forbidden, InvalidParam
from homeserver.rooms.client_events import stripped_state
from homeserver.rooms.live_room import LiveRoom, LiveRooms
from homeserver.rooms.remote import RemoteRoom, RemoteServers
from homeserver.rooms.room_summaries import RoomSummaries, summary_of
from homeserver.storage.events import StoredEvent

CHILD: Final = "m.space.child"
MAX_DEPTH: Final = 50
MAX_VISITED: Final = 2_000
"""Rooms of one tree that are looked at; what comes later is not listed (A22)."""
MAX_CHILDREN: Final = 1_000
"""Children of one space that are told of in its `children_state`."""
MAX_VIA: Final = 5
"""Servers that are asked about one room."""
MAX_ASKED: Final = 100
"""Rooms of one page that other servers are asked about."""
AHEAD: Final = 10
"""So many of them at a time."""


@dataclass(frozen=True, slots=True)
class HierarchyRequest:
    """What part of a tree is wanted. `max_depth` None: as deep as we go."""

    room_id: str
    suggested_only: bool = False
    max_depth: int | None = None
    limit: int = 50
    start: str | None = None
    via: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """A room that is to be visited. `via`: whom to ask about it. `told`: its summary, as its parent's server told it.
    `is_closed`: that server says that nobody of ours may know of it, so nobody else is asked."""

    room_id: str
    depth: int = 0
    via: tuple[str, ...] = ()
    told: Mapping[str, Any] | None = None
    is_closed: bool = False


@dataclass(frozen=True, slots=True)
class _Visited:
    """A room that may be listed, and the rooms right below it."""

    entry: dict[str, Any]
    below: list[_Place]


@dataclass(slots=True)
class _Walk:
    """What one walk has asked so far: rooms as other servers describe them (None: nobody does)."""

    user_id: str | None
    suggested_only: bool
    sees_everything: bool
    asked: dict[str, RemoteRoom | None] = field(default_factory=dict)


class _Token(msgspec.Struct, array_like=True):
    room_id: str
    suggested_only: bool
    max_depth: int | None
    offset: int


class Hierarchy:
    """Walks trees of spaces, depth first. A room that is met twice is listed once, so cycles end (A22)."""

    def __init__(self, *, rooms: LiveRooms, summaries: RoomSummaries, remote: RemoteServers) -> None:
        self._rooms = rooms
        self._summaries = summaries
        self._remote = remote

    def children_of(self, room: LiveRoom, *, suggested_only: bool) -> list[str]:
        """The rooms right below a space, in their order."""
        return [stored.event.state_key or "" for stored in _children(room, suggested_only=suggested_only)]

    def children_state(self, room: LiveRoom) -> list[dict[str, Any]]:
        """The m.space.child events of a space, as strangers are told of them."""
        return [_stripped(stored) for stored in _children(room, suggested_only=False)]

    async def page(
        self, user_id: str | None, request: HierarchyRequest, *, sees_everything: bool = False
    ) -> tuple[list[dict[str, Any]], str | None]:
        """(rooms of the tree that the user may know of, the next page's token). Raises Forbidden, InvalidParam.
        `sees_everything`: for operators."""
        offset = 0 if request.start is None else _offset(request)
        walk = _Walk(user_id, request.suggested_only, sees_everything)
        deepest = MAX_DEPTH if request.max_depth is None else min(request.max_depth, MAX_DEPTH)
        stack = [_Place(request.room_id, via=request.via)]
        visited: set[str] = set()
        page: list[dict[str, Any]] = []
        listed = 0
        while stack and len(visited) < MAX_VISITED:
            place = stack.pop()
            if place.room_id in visited:
                continue
            visited.add(place.room_id)
            found = await self._visit(walk, place)
            if found is None:
                if place.room_id == request.room_id:
                    raise Forbidden("You are not allowed to view this room")
                continue
            if len(page) == request.limit:
                return page, _token(request, listed)
            listed += 1
            if listed > offset:
                page.append(found.entry)
            if place.depth < deepest:
                below = [one for one in found.below if one.room_id not in visited]
                await self._ask_ahead(walk, below[: request.limit - len(page)])
                stack += reversed(below)
        return page, None

    async def _visit(self, walk: _Walk, place: _Place) -> _Visited | None:
        room = await self._rooms.find(place.room_id)
        if not self._summaries.is_here(room) and walk.user_id is not None:
            found = await self._visit_elsewhere(walk, walk.user_id, place)
            if found is not None:
                return found
        if room is None or not (walk.sees_everything or await self._summaries.may_know(room, walk.user_id)):
            return None
        children = _children(room, suggested_only=walk.suggested_only)
        below = [
            _Place(one.event.state_key or "", place.depth + 1, tuple(one.event.content["via"])[:MAX_VIA])
            for one in children
        ]
        entry = {**summary_of(room).room_summary(), "children_state": [_stripped(one) for one in children]}
        return _Visited(entry, below)

    # ---- rooms that only other servers know

    async def _visit_elsewhere(self, walk: _Walk, user_id: str, place: _Place) -> _Visited | None:
        told = await self._ask(walk, user_id, place)
        summary = place.told if told is None else told.summary
        if summary is None or not await self._summaries.may_know_remote(summary, user_id):
            return None
        children = [] if told is None else _told_children(told, suggested_only=walk.suggested_only)
        below: list[_Place] = []
        if told is not None:
            below = [
                _Place(
                    child,
                    place.depth + 1,
                    tuple(one["content"]["via"]),
                    told.children.get(child),
                    child in told.inaccessible,
                )
                for one in children
                if (child := one["state_key"])
            ]
        return _Visited({**summary, "children_state": children}, below)

    async def _ask(self, walk: _Walk, user_id: str, place: _Place) -> RemoteRoom | None:
        """What other servers tell of a room. Nobody is asked where the parent's server has told all that there is to
        know, or that nobody of ours may know of it."""
        if place.room_id in walk.asked:
            return walk.asked[place.room_id]
        is_told = place.told is not None and place.told.get("room_type") != "m.space"
        if is_told or place.is_closed or len(walk.asked) >= MAX_ASKED:
            return None
        walk.asked[place.room_id] = None
        found = await self._remote.describe_room(
            user_id, place.room_id, place.via[:MAX_VIA], suggested_only=walk.suggested_only
        )
        walk.asked[place.room_id] = found
        return found

    async def _ask_ahead(self, walk: _Walk, places: Sequence[_Place]) -> None:
        """Ask about several rooms at a time, so that a space of many servers costs no more patience than a few."""
        user_id = walk.user_id
        if user_id is None:
            return
        wanted = [place for place in places if not self._summaries.is_here(await self._rooms.find(place.room_id))]
        for start in range(0, len(wanted), AHEAD):
            await asyncio.gather(*(self._ask(walk, user_id, place) for place in wanted[start : start + AHEAD]))


def _told_children(told: RemoteRoom, *, suggested_only: bool) -> list[Mapping[str, Any]]:
    """The valid m.space.child events that another server told of, in the order of the spec."""
    if told.summary.get("room_type") != "m.space":
        return []
    found = [
        one
        for one in told.children_state
        if _names_servers(one["content"]) and not (suggested_only and one["content"].get("suggested") is not True)
    ]
    return sorted(
        found, key=lambda one: _order(one["content"].get("order"), one["origin_server_ts"], one["state_key"])
    )[:MAX_CHILDREN]


def _children(room: LiveRoom, *, suggested_only: bool) -> list[StoredEvent]:
    """The valid m.space.child events of a space in the order of the spec; none of a room that is no space."""
    if room.content("m.room.create").get("type") != "m.space":
        return []
    found = [
        stored
        for (event_type, state_key), stored in room.pinned.items()
        if event_type == CHILD
        and state_key.startswith("!")
        and _names_servers(stored.event.content)
        and not (suggested_only and stored.event.content.get("suggested") is not True)
    ]
    return sorted(found, key=_place)[:MAX_CHILDREN]


def _names_servers(content: Mapping[str, Any]) -> bool:
    """ "When the via key is missing or invalid, the room is not a child of the space." """
    via = content.get("via")
    return isinstance(via, list) and bool(via) and all(isinstance(server, str) for server in via)


def _place(stored: StoredEvent) -> tuple[bool, str, int, str]:
    event = stored.event
    return _order(event.content.get("order"), event.origin_server_ts, event.state_key or "")


def _order(order: Any, sent_ts: int, room_id: str) -> tuple[bool, str, int, str]:
    """ "First order the children with a valid order key lexicographically by Unicode code-points [...] then take the
    remaining children and order them by the origin_server_ts of their m.space.child event" """
    valid = isinstance(order, str) and 0 < len(order) <= 50 and all("\x20" <= char <= "\x7e" for char in order)
    text = order if valid and isinstance(order, str) else ""
    return not valid, text, sent_ts, room_id


def _stripped(stored: StoredEvent) -> dict[str, Any]:
    return {**stripped_state(stored.event), "origin_server_ts": stored.event.origin_server_ts}


def _token(request: HierarchyRequest, offset: int) -> str:
    token = _Token(request.room_id, request.suggested_only, request.max_depth, offset)
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _offset(request: HierarchyRequest) -> int:
    text = request.start or ""
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidParam("from is not a token of this server") from None
    if token.room_id != request.room_id or token.offset < 0:
        raise InvalidParam("from is a token of another room")
    if (token.suggested_only, token.max_depth) != (request.suggested_only, request.max_depth):
        raise InvalidParam("suggested_only and max_depth cannot change on paginated requests")
    return token.offset
