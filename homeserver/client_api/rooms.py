"""Making rooms, and whether the directory lists them. Spec: Client-Server API, "Creation", "Listing rooms"."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from homeserver.client_api.membership import third_party_of
from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import BadJson, Forbidden, InvalidParam
from homeserver.protocol.identifiers import is_user_id
from homeserver.rooms.creation import RoomRequest
from homeserver.rooms.services import RoomServices


class _InitialState(msgspec.Struct):
    type: str
    content: dict[str, Any]
    state_key: str = ""


class _Invite3pid(msgspec.Struct):
    id_server: str
    id_access_token: str
    medium: str
    address: str


class _CreateBody(msgspec.Struct):
    visibility: Literal["public", "private"] | None = None
    room_alias_name: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: list[str] = []
    invite_3pid: list[_Invite3pid] = []
    room_version: str | None = None
    creation_content: dict[str, Any] = {}
    initial_state: list[_InitialState] = []
    preset: Literal["private_chat", "public_chat", "trusted_private_chat"] | None = None
    is_direct: bool | None = None
    power_level_content_override: dict[str, Any] = {}


class RoomApi:
    """/createRoom and /joined_rooms."""

    def __init__(self, rooms: RoomServices) -> None:
        self._rooms = rooms

    async def create_room(self, request: Request) -> Response:
        body = parse_body(request, _CreateBody, allow_empty=True)
        if not self._rooms.settings.creation_for_everyone and not request.user.is_admin:
            raise Forbidden("Only administrators create rooms on this server.")
        third_parties = [
            third_party_of(each.medium, each.address, each.id_server, each.id_access_token) for each in body.invite_3pid
        ]
        if len(body.invite) + len(third_parties) > self._rooms.settings.invites_at_creation_max:
            raise InvalidParam(f"At most {self._rooms.settings.invites_at_creation_max} people can be invited at once.")
        for third_party in third_parties:
            self._rooms.third_party_invites.check(third_party)
        if body.room_alias_name is not None and len(body.room_alias_name) > 200:
            raise InvalidParam("room_alias_name is longer than 200 characters.")
        wanted = RoomRequest(
            visibility=body.visibility or "private",
            room_alias_name=body.room_alias_name,
            name=body.name,
            topic=body.topic,
            invite=body.invite,
            room_version=body.room_version,
            creation_content=body.creation_content,
            initial_state=[(entry.type, entry.state_key, entry.content) for entry in body.initial_state],
            preset=body.preset,
            is_direct=bool(body.is_direct),
            power_level_content_override=body.power_level_content_override,
        )
        room_id = await self._rooms.creation.create(request.user.user_id, wanted)
        for third_party in third_parties:
            await self._rooms.third_party_invites.invite(
                request.user.user_id, room_id, third_party, is_direct=wanted.is_direct
            )
        return Response({"room_id": room_id})

    async def get_joined_rooms(self, request: Request) -> Response:
        return Response({"joined_rooms": await self._rooms.memberships.joined_rooms(request.user.user_id)})

    async def get_mutual_rooms(self, request: Request) -> Response:
        """Rooms that the asking and the named user are both in (v1.18)."""
        other = request.query.get("user_id", [])
        if len(other) != 1:
            raise BadJson("Name one user as user_id.")
        if not is_user_id(other[0]):
            raise InvalidParam("user_id is not a user id.")
        if "from" in request.query or "batch_token" in request.query:
            raise InvalidParam("This server answers with all rooms at once, and has given no such token.")
        if other[0] == request.user.user_id:
            raise InvalidParam("You share every room with yourself.")
        joined = await self._rooms.memberships.mutual_rooms(request.user.user_id, other[0])
        return Response({"joined": joined, "count": len(joined)})
