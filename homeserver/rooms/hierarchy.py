"""Spaces: a page of the tree of rooms below one room. Spec: Client-Server API, "Spaces"."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from homeserver.protocol.errors import Forbidden, InvalidParam
from homeserver.rooms.client_events import stripped_state
from homeserver.rooms.live_room import LiveRoom, LiveRooms
from homeserver.rooms.room_summaries import RoomSummaries, summary_of
from homeserver.storage.events import StoredEvent

CHILD: Final = "m.space.child"
MAX_DEPTH: Final = 50
MAX_VISITED: Final = 2_000
"""Rooms of one tree that are looked at; what comes later is not listed (A22)."""
MAX_CHILDREN: Final = 1_000
"""Children of one space that are told of in its `children_state`."""


@dataclass(frozen=True, slots=True)
class HierarchyRequest:
    """What part of a tree is wanted. `max_depth` None: as deep as we go."""

    room_id: str
    suggested_only: bool = False
    max_depth: int | None = None
    limit: int = 50
    start: str | None = None


class _Token(msgspec.Struct, array_like=True):
    room_id: str
    suggested_only: bool
    max_depth: int | None
    offset: int


class Hierarchy:
    """Walks trees of spaces, depth first. A room that is met twice is listed once, so cycles end (A22)."""

    def __init__(self, *, rooms: LiveRooms, summaries: RoomSummaries) -> None:
        self._rooms = rooms
        self._summaries = summaries

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
        root = await self._rooms.find(request.room_id)
        if root is None or not (sees_everything or await self._summaries.may_know(root, user_id)):
            raise Forbidden("You are not allowed to view this room")
        deepest = MAX_DEPTH if request.max_depth is None else min(request.max_depth, MAX_DEPTH)
        stack: list[tuple[str, int]] = [(request.room_id, 0)]
        visited: set[str] = set()
        page: list[dict[str, Any]] = []
        listed = 0
        while stack and len(visited) < MAX_VISITED:
            room_id, depth = stack.pop()
            if room_id in visited:
                continue
            visited.add(room_id)
            room = await self._rooms.find(room_id)
            if room is None or not (sees_everything or await self._summaries.may_know(room, user_id)):
                continue
            if len(page) == request.limit:
                return page, _token(request, listed)
            children = _children(room, suggested_only=request.suggested_only)
            listed += 1
            if listed > offset:
                page.append({**summary_of(room).room_summary(), "children_state": [_stripped(one) for one in children]})
            if depth < deepest:
                stack += [(one.event.state_key or "", depth + 1) for one in reversed(children)]
        return page, None


def _children(room: LiveRoom, *, suggested_only: bool) -> list[StoredEvent]:
    """The valid m.space.child events of a space in the order of the spec; none of a room that is no space."""
    if room.content("m.room.create").get("type") != "m.space":
        return []
    found = [
        stored
        for (event_type, state_key), stored in room.pinned.items()
        if event_type == CHILD
        and state_key.startswith("!")
        and _is_valid(stored)
        and not (suggested_only and stored.event.content.get("suggested") is not True)
    ]
    return sorted(found, key=_place)[:MAX_CHILDREN]


def _is_valid(stored: StoredEvent) -> bool:
    """ "When the via key is missing or invalid, the room is not a child of the space." """
    via = stored.event.content.get("via")
    return isinstance(via, list) and bool(via) and all(isinstance(server, str) for server in via)


def _place(stored: StoredEvent) -> tuple[bool, str, int, str]:
    """ "First order the children with a valid order key lexicographically by Unicode code-points [...] then take the
    remaining children and order them by the origin_server_ts of their m.space.child event" """
    order = stored.event.content.get("order")
    valid = isinstance(order, str) and 0 < len(order) <= 50 and all("\x20" <= char <= "\x7e" for char in order)
    text = order if valid and isinstance(order, str) else ""
    return not valid, text, stored.event.origin_server_ts, stored.event.state_key or ""


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
