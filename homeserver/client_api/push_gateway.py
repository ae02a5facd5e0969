"""The push gateway of this server, where it has one. Spec: Push Gateway API, `POST /_matrix/push/v1/notify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.http.routing import Auth, Route
from homeserver.protocol.errors import NotFound
from homeserver.push.own_gateway import OwnGatewayFailed

if TYPE_CHECKING:
    from homeserver.push.gateway.gateway import PushGateway

PATH = "/_matrix/push/v1/notify"


class _NotifyBody(msgspec.Struct):
    notification: dict[str, Any]


class PushGatewayApi:
    """/_matrix/push/v1/notify, which any homeserver may call: who knows a pushkey may use it."""

    def __init__(self, gateway: PushGateway) -> None:
        self._gateway = gateway

    async def notify(self, request: Request) -> Response:
        """502 when a provider does not answer: the homeserver is to try again."""
        body = parse_body(request, _NotifyBody)
        try:
            return Response({"rejected": await self._gateway.notify(body.notification)})
        except OwnGatewayFailed as error:
            headers = {} if error.retry_after is None else {"Retry-After": str(max(round(error.retry_after), 1))}
            return Response({"errcode": "M_UNKNOWN", "error": "The push provider could not be reached."}, 502, headers)

    async def discover(self, request: Request) -> Response:
        """What apps ask to find out whether this is a gateway for UnifiedPush."""
        if not self._gateway.is_unified_push:
            raise NotFound("This gateway does not speak UnifiedPush.")
        return Response({"unifiedpush": {"gateway": "matrix"}})


def push_gateway_routes(gateway: PushGateway | None) -> list[Route]:
    """None where no gateway is configured."""
    if gateway is None:
        return []
    api = PushGatewayApi(gateway)
    return [
        Route("POST", PATH, api.notify, Auth.NONE, operation="notify"),
        Route("GET", PATH, api.discover, Auth.NONE),
    ]
