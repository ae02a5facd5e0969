"""Spaces and summaries of rooms. Spec: Client-Server API, "Spaces", "Room Summary API"."""

from __future__ import annotations

from typing import Any, Final

from homeserver.http.parsing import query_bool, query_int, query_list, query_string
from homeserver.http.request import Request, Response
from homeserver.rooms.hierarchy import HierarchyRequest
from homeserver.rooms.services import RoomServices

MAX_PAGE: Final = 100
MAX_VIA: Final = 50


class HierarchyApi:
    """/rooms/{roomId}/hierarchy and /room_summary."""

    def __init__(self, rooms: RoomServices) -> None:
        self._hierarchy = rooms.hierarchy
        self._summaries = rooms.summaries

    async def get_hierarchy(self, request: Request) -> Response:
        wanted = HierarchyRequest(
            request.path_params["room_id"],
            suggested_only=query_bool(request, "suggested_only", False),
            max_depth=query_int(request, "max_depth", None, minimum=0),
            limit=query_int(request, "limit", 50, minimum=1, maximum=MAX_PAGE, clamp=True),
            start=query_string(request, "from", None),
            via=tuple(query_list(request, "via", max_items=MAX_VIA, max_length=255)),
        )
        rooms, next_batch = await self._hierarchy.page(request.user.user_id, wanted)
        body: dict[str, Any] = {"rooms": rooms}
        if next_batch is not None:
            body["next_batch"] = next_batch
        return Response(body)

    async def get_room_summary(self, request: Request) -> Response:
        user_id = None if request.requester is None else request.requester.user_id
        via = query_list(request, "via", max_items=MAX_VIA, max_length=255)
        return Response(await self._summaries.get(user_id, request.path_params["room_id_or_alias"], via))
