"""Pushers. Spec: Client-Server API, `/pushers`."""

from __future__ import annotations

import msgspec

from homeserver.http.parsing import convert, parse_object
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import MissingParam
from homeserver.users.pushers import Pushers


class _PusherBody(msgspec.Struct):
    app_id: str
    pushkey: str
    kind: str | None
    append: bool = False


class PusherApi:
    """/pushers and /pushers/set."""

    def __init__(self, pushers: Pushers) -> None:
        self._pushers = pushers

    async def get_pushers(self, request: Request) -> Response:
        return Response({"pushers": await self._pushers.list_pushers(request.user.user_id)})

    async def set_pusher(self, request: Request) -> Response:
        """`kind` null removes."""
        body = parse_object(request)
        if "kind" not in body:
            raise MissingParam("'kind' is missing; null removes the pusher.")
        wanted = convert(body, _PusherBody)
        if wanted.kind is None:
            await self._pushers.remove_pusher(request.user, wanted.app_id, wanted.pushkey)
        else:
            await self._pushers.set_pusher(request.user, body, append=wanted.append)
        return Response({})
