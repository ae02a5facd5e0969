"""What administrators may do to accounts. Spec: Client-Server API, "Server Administration"."""

from __future__ import annotations

import msgspec

from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.users.moderation import Moderation


class _LockBody(msgspec.Struct):
    locked: bool


class _SuspendBody(msgspec.Struct):
    suspended: bool


class ModerationApi:
    """/admin."""

    def __init__(self, moderation: Moderation) -> None:
        self._moderation = moderation

    async def get_whois(self, request: Request) -> Response:
        return Response(await self._moderation.who_is(request.user, request.path_params["user_id"]))

    async def get_locked(self, request: Request) -> Response:
        locked = await self._moderation.get_flag(request.user, request.path_params["user_id"], "is_locked")
        return Response({"locked": locked})

    async def set_locked(self, request: Request) -> Response:
        body = parse_body(request, _LockBody)
        await self._moderation.set_flag(request.user, request.path_params["user_id"], "is_locked", body.locked)
        return Response({"locked": body.locked})

    async def get_suspended(self, request: Request) -> Response:
        suspended = await self._moderation.get_flag(request.user, request.path_params["user_id"], "is_suspended")
        return Response({"suspended": suspended})

    async def set_suspended(self, request: Request) -> Response:
        body = parse_body(request, _SuspendBody)
        await self._moderation.set_flag(request.user, request.path_params["user_id"], "is_suspended", body.suspended)
        return Response({"suspended": body.suspended})
