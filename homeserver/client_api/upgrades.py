"""Upgrading rooms. Spec: Client-Server API, "Room Upgrades"."""

from __future__ import annotations

import msgspec

from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam
from homeserver.rooms.services import RoomServices


class _UpgradeBody(msgspec.Struct):
    new_version: str
    additional_creators: list[str] = []


class UpgradeApi:
    """/rooms/{roomId}/upgrade."""

    def __init__(self, rooms: RoomServices) -> None:
        self._upgrades = rooms.upgrades

    async def upgrade_room(self, request: Request) -> Response:
        body = parse_body(request, _UpgradeBody)
        if len(body.additional_creators) > 100:
            raise InvalidParam("'additional_creators' names at most 100 users.")
        request.user.check_not_suspended()
        replacement = await self._upgrades.upgrade(
            request.user.user_id, request.path_params["room_id"], body.new_version, body.additional_creators
        )
        return Response({"replacement_room": replacement})
