"""The directory of published rooms. Spec: Client-Server API, "Published room directory"."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from homeserver.http.parsing import parse_body, query_int, query_string
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam
from homeserver.rooms.public_rooms import DirectoryQuery
from homeserver.rooms.services import RoomServices

MAX_PAGE: Final = 500
MAX_TERM: Final = 255


class _Filter(msgspec.Struct):
    generic_search_term: str | None = None
    room_types: list[str | None] | None = None


class _QueryBody(msgspec.Struct):
    limit: int | None = None
    since: str | None = None
    filter: _Filter | None = None
    include_all_networks: bool = False
    third_party_instance_id: str | None = None


class _VisibilityBody(msgspec.Struct):
    visibility: Literal["public", "private"]


class PublicRoomApi:
    """/publicRooms and /directory/list/appservice."""

    def __init__(self, rooms: RoomServices) -> None:
        self._public_rooms = rooms.public_rooms

    async def get_public_rooms(self, request: Request) -> Response:
        query = DirectoryQuery(
            limit=query_int(request, "limit", 100, minimum=0, maximum=MAX_PAGE, clamp=True),
            since=query_string(request, "since", None) or None,
            server=query_string(request, "server", None) or None,
        )
        return Response(await self._public_rooms.page(query))

    async def query_public_rooms(self, request: Request) -> Response:
        body = parse_body(request, _QueryBody, allow_empty=True)
        limit = 100 if body.limit is None else body.limit
        if limit < 0:
            raise InvalidParam("'limit' must not be negative.")
        wanted = body.filter or _Filter()
        query = DirectoryQuery(
            term=(wanted.generic_search_term or "")[:MAX_TERM],
            room_types=wanted.room_types,
            limit=min(limit, MAX_PAGE),
            since=body.since or None,
            instance_id=body.third_party_instance_id or None,
            all_networks=body.include_all_networks,
            server=query_string(request, "server", None) or None,
        )
        return Response(await self._public_rooms.page(query))

    async def set_appservice_visibility(self, request: Request) -> Response:
        body = parse_body(request, _VisibilityBody)
        params = request.path_params
        await self._public_rooms.change_network(
            request.user.appservice_id or "",
            params["network_id"],
            params["room_id"],
            published=body.visibility == "public",
        )
        return Response()
