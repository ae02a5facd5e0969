"""Rooms as operators see them: /rooms and what lies below it, and single events."""

from __future__ import annotations

from typing import Any

from homeserver.admin.paging import flag_of, is_backwards, order_of, page_of, text_of
from homeserver.http.parsing import query_int, query_string
from homeserver.http.request import Request, Response
from homeserver.protocol import strict_json
from homeserver.protocol.filters import RoomEventFilter, parse_room_event_filter
from homeserver.rooms.client_events import Reader
from homeserver.rooms.hierarchy import Hierarchy, HierarchyRequest
from homeserver.rooms.inspection import Inspection
from homeserver.rooms.room_listing import ORDERS, RoomListing, RoomQuery
from homeserver.rooms.tokens import StreamToken

MAX_EVENTS = 1000


class RoomAdminApi:
    """Reads rooms."""

    def __init__(self, listing: RoomListing, inspection: Inspection, hierarchy: Hierarchy) -> None:
        self._listing = listing
        self._inspection = inspection
        self._hierarchy = hierarchy

    async def list_rooms(self, request: Request) -> Response:
        page = page_of(request)
        rooms, total = await self._listing.page(
            RoomQuery(
                term=text_of(request, "search_term"),
                public=flag_of(request, "public_rooms", None),
                empty=flag_of(request, "empty_rooms", None),
                order_by=order_of(request, ORDERS, "name"),
                reverse=is_backwards(request),
                start=page.start,
                limit=page.limit,
            )
        )
        body: dict[str, Any] = {"rooms": rooms, "offset": page.start, "total_rooms": total}
        if rooms and page.start + len(rooms) < total:
            body["next_batch"] = page.start + len(rooms)
        if page.start:
            body["prev_batch"] = max(0, page.start - page.limit)
        return Response(body)

    async def get_room(self, request: Request) -> Response:
        return Response(await self._listing.get(request.path_params["room_id"]))

    async def list_members(self, request: Request) -> Response:
        members = await self._inspection.members(request.path_params["room_id"])
        return Response({"members": members, "total": len(members)})

    async def get_state(self, request: Request) -> Response:
        event_type = query_string(request, "type", None)
        state = await self._inspection.state(_reader(request), request.path_params["room_id"], event_type)
        return Response({"state": state})

    async def get_hierarchy(self, request: Request) -> Response:
        room_id = request.path_params["room_id"]
        await self._inspection.room(room_id)
        rooms, next_batch = await self._hierarchy.page(
            None,
            HierarchyRequest(
                room_id,
                max_depth=query_int(request, "max_depth", None),
                limit=query_int(request, "limit", 50, minimum=1, maximum=MAX_EVENTS, clamp=True),
                start=query_string(request, "from", None),
            ),
            sees_everything=True,
        )
        return Response({"rooms": rooms} if next_batch is None else {"rooms": rooms, "next_batch": next_batch})

    async def get_messages(self, request: Request) -> Response:
        page = await self._inspection.messages(
            _reader(request),
            request.path_params["room_id"],
            start=_place(request, "from"),
            until=_place(request, "to"),
            backwards=is_backwards(request),
            limit=query_int(request, "limit", 10, minimum=1, maximum=MAX_EVENTS, clamp=True),
            event_filter=_filter(request),
        )
        body: dict[str, Any] = {"chunk": page.chunk, "start": page.start}
        if page.end is not None:
            body["end"] = page.end
        return Response(body)

    async def get_context(self, request: Request) -> Response:
        params = request.path_params
        limit = query_int(request, "limit", 10, minimum=0, maximum=MAX_EVENTS, clamp=True)
        found = await self._inspection.context(_reader(request), params["room_id"], params["event_id"], limit=limit)
        return Response(
            {
                "event": found.event,
                "events_before": found.before,
                "events_after": found.after,
                "state": found.state,
                "start": found.start,
                "end": found.end,
            }
        )

    async def get_event_at(self, request: Request) -> Response:
        event_id, sent = await self._inspection.event_at(
            request.path_params["room_id"], query_int(request, "ts"), forward=not is_backwards(request)
        )
        return Response({"event_id": event_id, "origin_server_ts": sent})

    async def get_event(self, request: Request) -> Response:
        _, stored = await self._inspection.find_event(request.path_params["event_id"])
        pdu = {**stored.event.pdu, "event_id": stored.event_id, "room_id": stored.event.room_id}
        pdu["unsigned"] = {"age_ts": stored.event.origin_server_ts}
        return Response({"event": pdu})

    async def list_media(self, request: Request) -> Response:
        found = await self._inspection.media_of(request.path_params["room_id"])
        own = f"mxc://{self._inspection.server_name}/"
        return Response(
            {
                "local": [address for address in found if address.startswith(own)],
                "remote": [address for address in found if not address.startswith(own)],
            }
        )


def _reader(request: Request) -> Reader:
    return Reader(request.user.user_id)


def _place(request: Request, name: str) -> int | None:
    text = query_string(request, name, None)
    return None if text is None else StreamToken.parse(text).position


def _filter(request: Request) -> RoomEventFilter:
    text = query_string(request, "filter", None, max_length=65_536)
    return RoomEventFilter() if text is None else parse_room_event_filter(strict_json.decode(text.encode()))
