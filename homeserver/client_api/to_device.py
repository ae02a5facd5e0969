"""Send-to-device messages. Spec: Client-Server API, "Send-to-Device messaging"."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.users.to_device import ToDevice


class _MessagesBody(msgspec.Struct):
    messages: dict[str, dict[str, dict[str, Any]]]


class ToDeviceApi:
    """/sendToDevice."""

    def __init__(self, to_device: ToDevice) -> None:
        self._to_device = to_device

    async def send_to_device(self, request: Request) -> Response:
        body = parse_body(request, _MessagesBody)
        params = request.path_params
        await self._to_device.send(request.user, params["event_type"], params["txn_id"], body.messages)
        return Response({})
