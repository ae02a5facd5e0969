"""Presence. Spec: Client-Server API, "Presence"."""

from __future__ import annotations

import msgspec

from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.users.presence import Presence


class _PresenceBody(msgspec.Struct):
    presence: str
    status_msg: str | None = None


class PresenceApi:
    """/presence/{userId}/status."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence

    async def get_presence(self, request: Request) -> Response:
        return Response(await self._presence.get_presence(request.user, request.path_params["user_id"]))

    async def set_presence(self, request: Request) -> Response:
        body = parse_body(request, _PresenceBody)
        await self._presence.set_presence(request.user, request.path_params["user_id"], body.presence, body.status_msg)
        return Response({})
