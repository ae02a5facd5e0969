"""Dehydrated devices, under /_matrix/client/unstable/org.matrix.msc3814.v1. MSC3814."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.encryption.dehydrated_devices import DehydratedDevices
from homeserver.http.parsing import parse_body, query_string
from homeserver.http.request import Request, Response
from homeserver.rooms.tokens import StreamToken


class _DeviceBody(msgspec.Struct):
    device_id: str
    device_data: dict[str, Any]
    device_keys: dict[str, Any]
    initial_device_display_name: str | None = None
    one_time_keys: dict[str, Any] | None = None
    fallback_keys: dict[str, Any] | None = None


class _EventsBody(msgspec.Struct):
    next_batch: str | None = None


class DehydratedDeviceApi:
    """/dehydrated_device."""

    def __init__(self, devices: DehydratedDevices) -> None:
        self._devices = devices

    async def set_dehydrated_device(self, request: Request) -> Response:
        body = parse_body(request, _DeviceBody)
        await self._devices.set_device(
            request.user.user_id,
            body.device_id,
            body.device_data,
            body.initial_device_display_name,
            device_keys=body.device_keys,
            one_time_keys=body.one_time_keys or {},
            fallback_keys=body.fallback_keys or {},
        )
        return Response({"device_id": body.device_id})

    async def get_dehydrated_device(self, request: Request) -> Response:
        device = await self._devices.get_device(request.user.user_id)
        return Response({"device_id": device.device_id, "device_data": msgspec.Raw(device.device_data.encode())})

    async def delete_dehydrated_device(self, request: Request) -> Response:
        return Response({"device_id": await self._devices.delete_device(request.user.user_id)})

    async def get_events(self, request: Request) -> Response:
        """As the proposal has it now: the last page has no `next_batch`."""
        events, next_batch, has_more = await self._list(request, query_string(request, "from", None))
        return Response({"events": events, **({"next_batch": next_batch} if has_more else {})})

    async def list_events(self, request: Request) -> Response:
        """As the proposal had it before: read on until there are no events."""
        body = parse_body(request, _EventsBody, allow_empty=True)
        events, next_batch, _ = await self._list(request, body.next_batch)
        return Response({"events": events, "next_batch": next_batch})

    async def _list(self, request: Request, place: str | None) -> tuple[list[dict[str, Any]], str, bool]:
        after = StreamToken.parse(place).position if place else 0
        device_id = request.path_params["device_id"]
        events, read_to, has_more = await self._devices.list_events(request.user.user_id, device_id, after)
        return events, str(StreamToken(read_to)), has_more
