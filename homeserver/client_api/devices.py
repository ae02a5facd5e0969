"""Devices of whoever asks. Spec: Client-Server API, "Device Management"."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.client_api.interactive_auth import operation_of
from homeserver.http.parsing import convert, parse_body, parse_object
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import TooLarge
from homeserver.storage.devices import Device
from homeserver.users.devices import Devices
from homeserver.users.interactive_auth import InteractiveAuth

_MAXIMUM_DELETED = 1000


class _DeviceBody(msgspec.Struct):
    display_name: str | None = None


class _DeleteBody(msgspec.Struct):
    devices: list[str]


class DeviceApi:
    """/devices and /delete_devices."""

    def __init__(self, devices: Devices, interactive_auth: InteractiveAuth) -> None:
        self._devices = devices
        self._interactive_auth = interactive_auth

    async def get_devices(self, request: Request) -> Response:
        devices = await self._devices.list_devices(request.user.user_id)
        return Response({"devices": [_members(device) for device in devices]})

    async def get_device(self, request: Request) -> Response:
        return Response(
            _members(await self._devices.get_device(request.user.user_id, request.path_params["device_id"]))
        )

    async def update_device(self, request: Request) -> Response:
        """Application services may also make devices this way (v1.17); then the status is 201."""
        body = parse_body(request, _DeviceBody, allow_empty=True)
        user_id, device_id = request.user.user_id, request.path_params["device_id"]
        if request.user.appservice_id is not None:
            is_new = await self._devices.create_device(user_id, device_id, body.display_name)
            return Response({}, status=201 if is_new else 200)
        await self._devices.rename_device(user_id, device_id, body.display_name)
        return Response({})

    async def delete_device(self, request: Request) -> Response:
        body = parse_object(request, allow_empty=True)
        await self._authenticate(request, body)
        await self._devices.delete_devices(request.user.user_id, [request.path_params["device_id"]])
        return Response({})

    async def delete_devices(self, request: Request) -> Response:
        body = parse_object(request)
        wanted = convert(body, _DeleteBody)
        if len(wanted.devices) > _MAXIMUM_DELETED:
            raise TooLarge(f"At most {_MAXIMUM_DELETED} devices can be deleted at once.")
        await self._authenticate(request, body)
        await self._devices.delete_devices(request.user.user_id, wanted.devices)
        return Response({})

    async def _authenticate(self, request: Request, body: dict[str, Any]) -> None:
        """Not asked of application services (v1.17)."""
        if request.user.appservice_id is None:
            await self._interactive_auth.check(operation_of(request, body), [["m.login.password"]])


def _members(device: Device) -> dict[str, Any]:
    members: dict[str, Any] = {"device_id": device.device_id}
    if device.display_name is not None:
        members["display_name"] = device.display_name
    if device.last_seen_ts is not None:
        members["last_seen_ts"] = device.last_seen_ts
        members["last_seen_ip"] = device.last_seen_ip or ""
    return members
