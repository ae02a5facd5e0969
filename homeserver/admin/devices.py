"""Devices of users, for operators: /users/{userId}/devices."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam, NotFound
from homeserver.protocol.identifiers import domain_of, parse_user_id
from homeserver.storage.database import Database
from homeserver.storage.dehydrated_devices import DehydratedDeviceStore
from homeserver.storage.devices import Device
from homeserver.users.services import UserServices


class _CreateBody(msgspec.Struct):
    device_id: str


class _UpdateBody(msgspec.Struct):
    display_name: str | None = None


class _DeleteBody(msgspec.Struct):
    devices: list[str]


class DeviceAdminApi:
    """Devices of users of this server."""

    def __init__(self, db: Database, users: UserServices, server_name: str) -> None:
        self._users = users
        self._dehydrated = DehydratedDeviceStore(db)
        self._server_name = server_name

    async def list_devices(self, request: Request) -> Response:
        user_id = await self._user(request)
        dehydrated = await self._dehydrated_id(user_id)
        devices = [_shown(device, dehydrated) for device in await self._users.devices.list_devices(user_id)]
        return Response({"devices": devices, "total": len(devices)})

    async def create_device(self, request: Request) -> Response:
        user_id = await self._user(request)
        body = parse_body(request, _CreateBody)
        await self._users.devices.create_device(user_id, body.device_id, None)
        return Response({}, status=201)

    async def get_device(self, request: Request) -> Response:
        user_id = await self._user(request)
        device = await self._users.devices.get_device(user_id, request.path_params["device_id"])
        return Response(_shown(device, await self._dehydrated_id(user_id)))

    async def update_device(self, request: Request) -> Response:
        body = parse_body(request, _UpdateBody, allow_empty=True)
        user_id = await self._user(request)
        await self._users.devices.rename_device(user_id, request.path_params["device_id"], body.display_name)
        return Response()

    async def delete_device(self, request: Request) -> Response:
        await self._users.devices.delete_devices(await self._user(request), [request.path_params["device_id"]])
        return Response()

    async def delete_devices(self, request: Request) -> Response:
        user_id = await self._user(request)
        await self._users.devices.delete_devices(user_id, parse_body(request, _DeleteBody).devices)
        return Response()

    async def _user(self, request: Request) -> str:
        user_id = request.path_params["user_id"]
        if domain_of(parse_user_id(user_id)) != self._server_name:
            raise InvalidParam("This user belongs to another server.")
        if await self._users.accounts.find_account(user_id) is None:
            raise NotFound("User not found")
        return user_id

    async def _dehydrated_id(self, user_id: str) -> str | None:
        device = await self._dehydrated.find_device(user_id)
        return None if device is None else device.device_id


def _shown(device: Device, dehydrated_id: str | None) -> dict[str, Any]:
    return {
        "device_id": device.device_id,
        "display_name": device.display_name,
        "last_seen_ip": device.last_seen_ip,
        "last_seen_user_agent": device.last_seen_user_agent,
        "last_seen_ts": device.last_seen_ts,
        "user_id": device.user_id,
        "dehydrated": device.device_id == dehydrated_id,
    }
