"""Joining, inviting, knocking, leaving, kicking, banning, forgetting. Spec: Client-Server API, "Room membership"."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.http.parsing import parse_body, query_list
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam
from homeserver.protocol.identifiers import parse_room_id, parse_user_id
from homeserver.rooms.services import RoomServices
from homeserver.rooms.third_party_invites import ThirdParty
from homeserver.users.identity_servers import identity_server


class _Reason(msgspec.Struct):
    reason: str | None = None


class _JoinBody(msgspec.Struct):
    reason: str | None = None
    third_party_signed: dict[str, Any] | None = None


class _TargetBody(msgspec.Struct):
    user_id: str
    reason: str | None = None


class _InviteBody(msgspec.Struct):
    user_id: str | None = None
    reason: str | None = None
    id_server: str | None = None
    id_access_token: str | None = None
    medium: str | None = None
    address: str | None = None


class MembershipApi:
    """Changes of who is in a room."""

    def __init__(self, rooms: RoomServices) -> None:
        self._rooms = rooms
        self._memberships = rooms.memberships

    async def join_room(self, request: Request) -> Response:
        """`POST /rooms/{roomId}/join`"""
        body = parse_body(request, _JoinBody, allow_empty=True)
        room_id = parse_room_id(request.path_params["room_id"])
        return await self._join(request, room_id, (), body)

    async def join_room_or_alias(self, request: Request) -> Response:
        """`POST /join/{roomIdOrAlias}`"""
        body = parse_body(request, _JoinBody, allow_empty=True)
        room_id, via = await self._resolve(request, request.path_params["room_id_or_alias"])
        return await self._join(request, room_id, via, body)

    async def knock_room(self, request: Request) -> Response:
        body = parse_body(request, _Reason, allow_empty=True)
        room_id, via = await self._resolve(request, request.path_params["room_id_or_alias"])
        return Response(
            {"room_id": await self._memberships.knock(request.user.user_id, room_id, reason=body.reason, via=via)}
        )

    async def invite_user(self, request: Request) -> Response:
        body = parse_body(request, _InviteBody)
        if body.user_id is None:
            if body.medium is None or body.address is None:
                raise InvalidParam("Say whom to invite as user_id, or as medium and address.")
            third_party = third_party_of(body.medium, body.address, body.id_server, body.id_access_token)
            await self._rooms.third_party_invites.invite(
                request.user.user_id, request.path_params["room_id"], third_party, reason=body.reason
            )
            return Response()
        await self._memberships.invite(
            request.user.user_id,
            request.path_params["room_id"],
            parse_user_id(body.user_id),
            reason=body.reason,
        )
        return Response()

    async def leave_room(self, request: Request) -> Response:
        body = parse_body(request, _Reason, allow_empty=True)
        await self._memberships.leave(request.user.user_id, request.path_params["room_id"], reason=body.reason)
        return Response()

    async def forget_room(self, request: Request) -> Response:
        await self._memberships.forget(request.user.user_id, request.path_params["room_id"])
        return Response()

    async def kick(self, request: Request) -> Response:
        room_id, target, reason = self._target(request)
        await self._memberships.kick(request.user.user_id, room_id, target, reason=reason)
        return Response()

    async def ban(self, request: Request) -> Response:
        room_id, target, reason = self._target(request)
        await self._memberships.ban(request.user.user_id, room_id, target, reason=reason)
        return Response()

    async def unban(self, request: Request) -> Response:
        room_id, target, reason = self._target(request)
        await self._memberships.unban(request.user.user_id, room_id, target, reason=reason)
        return Response()

    def _target(self, request: Request) -> tuple[str, str, str | None]:
        body = parse_body(request, _TargetBody)
        return request.path_params["room_id"], parse_user_id(body.user_id), body.reason

    async def _join(self, request: Request, room_id: str, via: tuple[str, ...], body: _JoinBody) -> Response:
        if request.user.is_guest:
            await self._memberships.check_guest_may_join(room_id)
        content: dict[str, Any] = {}
        if body.reason is not None:
            content["reason"] = body.reason
        if body.third_party_signed is not None:
            await self._rooms.third_party_invites.accept(request.user.user_id, room_id, body.third_party_signed)
        joined = await self._memberships.join(request.user.user_id, room_id, content=content, via=via)
        return Response({"room_id": joined})

    async def _resolve(self, request: Request, room_id_or_alias: str) -> tuple[str, tuple[str, ...]]:
        via = [*query_list(request, "via"), *query_list(request, "server_name")]
        if room_id_or_alias.startswith("#"):
            room_id, servers = await self._rooms.aliases.get(room_id_or_alias)
            return room_id, tuple(dict.fromkeys([*via, *servers]))
        return parse_room_id(room_id_or_alias), tuple(dict.fromkeys(via))


def third_party_of(medium: str, address: str, id_server: str | None, id_access_token: str | None) -> ThirdParty:
    """Somebody known by an address, as clients name them. Raises InvalidParam."""
    if id_server is None or id_access_token is None:
        return ThirdParty(medium, address, None)
    return ThirdParty(medium, address, identity_server(id_server, id_access_token))
