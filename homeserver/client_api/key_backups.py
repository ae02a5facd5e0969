"""Backups of room keys. Spec: Client-Server API, "Server-side key backups"."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.encryption.key_backups import KeyBackups, RoomBackup, SessionBackup
from homeserver.http.parsing import parse_body, query_string
from homeserver.http.request import Request, Response


class _VersionBody(msgspec.Struct):
    algorithm: str
    auth_data: dict[str, Any]
    version: str | None = None


class _RoomsBody(msgspec.Struct):
    rooms: dict[str, RoomBackup]


class KeyBackupApi:
    """/room_keys."""

    def __init__(self, key_backups: KeyBackups) -> None:
        self._backups = key_backups

    async def create_version(self, request: Request) -> Response:
        body = parse_body(request, _VersionBody)
        version = await self._backups.create(request.user.user_id, body.algorithm, body.auth_data)
        return Response({"version": version})

    async def get_current_version(self, request: Request) -> Response:
        return Response(await self._backups.describe(request.user.user_id))

    async def get_version(self, request: Request) -> Response:
        return Response(await self._backups.describe(request.user.user_id, request.path_params["version"]))

    async def update_version(self, request: Request) -> Response:
        body = parse_body(request, _VersionBody)
        await self._backups.update(
            request.user.user_id, request.path_params["version"], body.algorithm, body.auth_data, body.version
        )
        return Response({})

    async def delete_version(self, request: Request) -> Response:
        await self._backups.delete(request.user.user_id, request.path_params["version"])
        return Response({})

    async def put_keys(self, request: Request) -> Response:
        body = parse_body(request, _RoomsBody)
        return await self._add(request, body.rooms)

    async def put_room_keys(self, request: Request) -> Response:
        body = parse_body(request, RoomBackup)
        return await self._add(request, {request.path_params["room_id"]: body})

    async def put_key(self, request: Request) -> Response:
        body = parse_body(request, SessionBackup)
        room = RoomBackup({request.path_params["session_id"]: body})
        return await self._add(request, {request.path_params["room_id"]: room})

    async def get_keys(self, request: Request) -> Response:
        return Response({"rooms": await self._backups.list_keys(request.user.user_id, _version(request))})

    async def get_room_keys(self, request: Request) -> Response:
        room_id = request.path_params["room_id"]
        rooms = await self._backups.list_keys(request.user.user_id, _version(request), room_id)
        return Response(rooms.get(room_id, {"sessions": {}}))

    async def get_key(self, request: Request) -> Response:
        params = request.path_params
        version = _version(request)
        return Response(
            await self._backups.get_key(request.user.user_id, version, params["room_id"], params["session_id"])
        )

    async def delete_keys(self, request: Request) -> Response:
        """All of a version, of a room, or one, as the path has it."""
        params = request.path_params
        return Response(
            await self._backups.delete_keys(
                request.user.user_id, _version(request), params.get("room_id"), params.get("session_id")
            )
        )

    async def _add(self, request: Request, rooms: dict[str, RoomBackup]) -> Response:
        return Response(await self._backups.add_keys(request.user.user_id, _version(request), rooms))


def _version(request: Request) -> str:
    return query_string(request, "version")
