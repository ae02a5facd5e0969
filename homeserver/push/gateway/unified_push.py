"""UnifiedPush: the pushkey is an address at the push server of the user's own choice, which gets what we got.

It is an address that a user gives, so it is reached through the guarded client (C04).
https://unifiedpush.org/developers/gateway/
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from homeserver.outbound.client import Outbound, OutboundFailed
from homeserver.protocol.globs import Glob
from homeserver.push.gateway.apps import AppSettings
from homeserver.push.gateway.notification import Device, Dropped, Notification, Refused, Unreachable
from homeserver.push.gateway.web_push import may_reach
from homeserver.push.http_pushes import retry_after

LIMIT: Final = 4096
"""Bytes that every push server has to take."""
TIMEOUT_SECONDS: Final = 20.0


class UnifiedPush:
    """All apps that bring their own push server."""

    def __init__(self, app: AppSettings, outbound: Outbound) -> None:
        self._app = app
        self._outbound = outbound
        self._endpoints = [Glob(pattern) for pattern in app.endpoints]

    async def send(self, notification: Notification, device: Device) -> None:
        try:
            parts = urlsplit(device.pushkey)
            _ = parts.port
        except ValueError:
            raise Refused("it is no address") from None
        if parts.scheme != "https" or not parts.hostname:
            raise Refused("it is no address")
        if not may_reach(self._endpoints, parts.hostname):
            raise Dropped("its push server is none of those that are allowed")
        try:
            answer = await self._outbound.request(
                "POST",
                device.pushkey,
                headers={"Content-Type": "application/json", "TTL": str(self._app.ttl)},
                body=_payload(notification, device),
                timeout=TIMEOUT_SECONDS,
                max_bytes=64 * 1024,
            )
        except OutboundFailed as error:
            raise Unreachable(str(error), is_for_all=False) from None
        if answer.status in (404, 410):
            raise Refused(f"status {answer.status}")
        if answer.status == 429 or answer.status >= 500:
            raise Unreachable(f"status {answer.status}", retry_after(answer.headers), is_for_all=False)
        if not 200 <= answer.status < 300:
            raise Dropped(f"status {answer.status}")

    async def close(self) -> None: ...


def _payload(notification: Notification, device: Device) -> bytes:
    told: dict[str, Any] = {
        name: value
        for name, value in msgspec.to_builtins(notification).items()
        if value is not None and name not in ("devices", "counts")
    }
    told["counts"] = {
        name: value for name, value in msgspec.to_builtins(notification.counts).items() if value is not None
    }
    told["devices"] = [{"app_id": device.app_id, "pushkey": device.pushkey, "data": device.data}]
    encoded = msgspec.json.encode({"notification": told})
    if len(encoded) > LIMIT:
        told.pop("content", None)
        encoded = msgspec.json.encode({"notification": told})
    if len(encoded) > LIMIT:
        raise Dropped("the notification is larger than push servers take")
    return encoded
