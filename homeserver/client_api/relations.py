"""What relates to an event, and the threads of a room.

Spec: Client-Server API, "Relationships API", "Querying threads in a room".
"""

from __future__ import annotations

import enum
from typing import Any, Final

from homeserver.client_api.events import Direction, place_of, reader_of
from homeserver.http.parsing import query_bool, query_enum, query_int
from homeserver.http.request import Request, Response
from homeserver.rooms.relations import RelationQuery
from homeserver.rooms.services import RoomServices
from homeserver.users.account_data import AccountDataService

MAX_PAGE: Final = 100
UNSTABLE_RECURSE: Final = "org.matrix.msc3981.recurse"


class _Include(enum.Enum):
    ALL = "all"
    PARTICIPATED = "participated"


class RelationApi:
    """/rooms/{roomId}/relations and /rooms/{roomId}/threads."""

    def __init__(self, rooms: RoomServices, account_data: AccountDataService) -> None:
        self._related = rooms.related
        self._account_data = account_data

    async def get_relations(self, request: Request) -> Response:
        params = request.path_params
        asks_recursion = "recurse" in request.query or UNSTABLE_RECURSE in request.query
        page = await self._related.page(
            reader_of(request),
            params["room_id"],
            RelationQuery(
                params["event_id"],
                relation=params.get("rel_type"),
                event_type=params.get("event_type"),
                start=place_of(request, "from"),
                until=place_of(request, "to"),
                limit=query_int(request, "limit", 5, minimum=1, maximum=MAX_PAGE, clamp=True),
                backwards=query_enum(request, "dir", Direction.BACKWARDS, Direction) is Direction.BACKWARDS,
                recurse=query_bool(request, "recurse", False) or query_bool(request, UNSTABLE_RECURSE, False),
            ),
            await self._account_data.ignored_users(request.user.user_id),
        )
        body: dict[str, Any] = {"chunk": page.chunk}
        if page.next_batch is not None:
            body["next_batch"] = page.next_batch
        if page.prev_batch is not None:
            body["prev_batch"] = page.prev_batch
        if asks_recursion:
            body["recursion_depth"] = 1 if page.depth is None else page.depth
        return Response(body)

    async def get_threads(self, request: Request) -> Response:
        include = query_enum(request, "include", _Include.ALL, _Include)
        chunk, next_batch = await self._related.threads(
            reader_of(request),
            request.path_params["room_id"],
            include="participated" if include is _Include.PARTICIPATED else "all",
            start=place_of(request, "from"),
            limit=query_int(request, "limit", 20, minimum=1, maximum=MAX_PAGE, clamp=True),
            ignored=await self._account_data.ignored_users(request.user.user_id),
        )
        body: dict[str, Any] = {"chunk": chunk}
        if next_batch is not None:
            body["next_batch"] = next_batch
        return Response(body)
