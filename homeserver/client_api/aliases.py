"""Names of rooms and the listing of single rooms. Spec: Client-Server API, "Room aliases", "Listing rooms"."""

from __future__ import annotations

from typing import Literal

import msgspec

from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import Forbidden
from homeserver.protocol.identifiers import parse_room_id
from homeserver.rooms.services import RoomServices


class _AliasBody(msgspec.Struct):
    room_id: str


class _VisibilityBody(msgspec.Struct):
    visibility: Literal["public", "private"] = "public"


class AliasApi:
    """/directory/room, /directory/list/room and /rooms/{roomId}/aliases."""

    def __init__(self, rooms: RoomServices) -> None:
        self._aliases = rooms.aliases
        self._settings = rooms.settings

    async def get_alias(self, request: Request) -> Response:
        room_id, servers = await self._aliases.get(request.path_params["room_alias"])
        return Response({"room_id": room_id, "servers": servers})

    async def set_alias(self, request: Request) -> Response:
        body = parse_body(request, _AliasBody)
        await self._aliases.add(request.user.user_id, request.path_params["room_alias"], parse_room_id(body.room_id))
        return Response()

    async def delete_alias(self, request: Request) -> Response:
        await self._aliases.remove(
            request.user.user_id, request.path_params["room_alias"], is_admin=request.user.is_admin
        )
        return Response()

    async def get_local_aliases(self, request: Request) -> Response:
        found = await self._aliases.list_local(
            request.user.user_id, request.path_params["room_id"], is_admin=request.user.is_admin
        )
        return Response({"aliases": found})

    async def get_room_visibility(self, request: Request) -> Response:
        published = await self._aliases.is_published(request.path_params["room_id"])
        return Response({"visibility": "public" if published else "private"})

    async def set_room_visibility(self, request: Request) -> Response:
        body = parse_body(request, _VisibilityBody, allow_empty=True)
        if not self._settings.directory_for_everyone and not request.user.is_admin:
            raise Forbidden("Only administrators list rooms in this server's directory.")
        await self._aliases.change_published(
            request.user.user_id,
            request.path_params["room_id"],
            published=body.visibility == "public",
            is_admin=request.user.is_admin,
        )
        return Response()
