"""Web Push: encrypted messages to whatever service a browser has chosen, signed with the server's VAPID key.

The pushkey is the browser's key `p256dh`; `endpoint` and `auth` stand in the pusher's `data`. The endpoint is an
address that a user gives, so it is reached through the guarded client (C04). RFC 8030, 8291, 8292.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from homeserver.clock import Clock
from homeserver.outbound.client import Outbound, OutboundFailed
from homeserver.protocol.globs import Glob
from homeserver.push.gateway.apps import AppSettings
from homeserver.push.gateway.json_web_tokens import base64url, ec_key, from_base64url, sign_es256
from homeserver.push.gateway.notification import Device, Dropped, Notification, Refused, Unreachable, shorten
from homeserver.push.gateway.web_push_encryption import MAX_PLAINTEXT, encrypt, point
from homeserver.push.http_pushes import retry_after

TOKEN_SECONDS: Final = 12 * 60 * 60
"""RFC 8292, section 2: the expiry "MUST NOT be more than 24 hours from the time of the request"."""
REUSED_MS: Final = 6 * 60 * 60 * 1000
SERVICES: Final = 100
"""Push services whose tokens are remembered."""
LONGEST_BODY: Final = 1000
TIMEOUT_SECONDS: Final = 20.0
_MEMBERS: Final = (
    "room_id",
    "room_name",
    "room_alias",
    "membership",
    "event_id",
    "sender",
    "sender_display_name",
    "user_is_target",
    "type",
)


class WebPush:
    """One web app."""

    def __init__(self, app: AppSettings, outbound: Outbound, clock: Clock) -> None:
        """Raises ValueError."""
        if not app.contact.startswith(("mailto:", "https:")):
            raise ValueError("contact must be a mailto: or https: address.")
        self._app = app
        self._outbound = outbound
        self._clock = clock
        self._key = ec_key(app.key)
        self.public_key = base64url(point(self._key.public_key()))
        self._endpoints = [Glob(pattern) for pattern in app.endpoints]
        self._tokens: OrderedDict[str, tuple[int, str]] = OrderedDict()

    async def send(self, notification: Notification, device: Device) -> None:
        if device.data.get("events_only") is True and not notification.event_id:
            return
        endpoint, receiver, secret = self._subscription(device)
        parts = urlsplit(endpoint)
        if not may_reach(self._endpoints, parts.hostname or ""):
            raise Dropped("its push service is none of those that are allowed")
        try:
            body = encrypt(web_push_payload(notification, device), receiver, secret)
        except ValueError as error:
            raise Refused(f"its keys are none: {error}") from None
        headers = {
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(self._app.ttl),
            "Urgency": "normal" if notification.is_urgent else "low",
            "Authorization": f"vapid t={self._token(f'{parts.scheme}://{parts.netloc}')}, k={self.public_key}",
        }
        if notification.room_id and device.data.get("only_last_per_room") is True:
            # At most 32 characters of base64url (RFC 8030, section 5.4).
            headers["Topic"] = base64url(hashlib.blake2s(notification.room_id.encode(), digest_size=24).digest())
        try:
            answer = await self._outbound.request(
                "POST", endpoint, headers=headers, body=body, timeout=TIMEOUT_SECONDS, max_bytes=64 * 1024
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

    def _subscription(self, device: Device) -> tuple[str, bytes, bytes]:
        """(endpoint, the browser's public key, its secret)."""
        endpoint, auth = device.data.get("endpoint"), device.data.get("auth")
        if not isinstance(endpoint, str) or not isinstance(auth, str) or not endpoint.startswith("https://"):
            raise Refused("its subscription is not whole")
        try:
            _ = urlsplit(endpoint).port
            return endpoint, from_base64url(_url_safe(device.pushkey)), from_base64url(_url_safe(auth))
        except ValueError:
            raise Refused("its subscription is none") from None

    def _token(self, audience: str) -> str:
        """RFC 8292, section 2: `aud` is the origin of the push service, `exp` and `sub` as they say."""
        now = self._clock.now_ms()
        made, token = self._tokens.get(audience, (0, ""))
        if not token or now - made >= REUSED_MS:
            claims = {"aud": audience, "exp": now // 1000 + TOKEN_SECONDS, "sub": self._app.contact}
            token = sign_es256({}, claims, self._key)
            self._tokens[audience] = (now, token)
            if len(self._tokens) > SERVICES:
                self._tokens.popitem(last=False)
        return token


def may_reach(patterns: list[Glob], host: str) -> bool:
    """Whether a host is one of those that the operator allows; without any, all are."""
    return not patterns or any(pattern.matches(host) for pattern in patterns)


def web_push_payload(notification: Notification, device: Device) -> bytes:
    """What a service worker gets: the pusher's `default_payload`, the notification's members and its counts. Raises
    Dropped for what does not fit."""
    default = device.data.get("default_payload")
    payload: dict[str, Any] = dict(default) if isinstance(default, dict) else {}
    payload |= {name: value for name in _MEMBERS if (value := getattr(notification, name))}
    for name in ("unread", "missed_calls"):
        value = getattr(notification.counts, name)
        if value is not None:
            payload[name] = value
    content = dict(notification.content or {})
    content.pop("formatted_body", None)  # no notification shows it
    if isinstance(content.get("body"), str):
        content["body"] = shorten(content["body"], LONGEST_BODY)
    for kept in (content, {name: content[name] for name in ("msgtype", "body") if name in content}, {}):
        encoded = msgspec.json.encode({**payload, "content": kept} if kept else payload)
        if len(encoded) <= MAX_PLAINTEXT:
            return encoded
    raise Dropped("the payload is larger than the provider takes")


def _url_safe(text: str) -> str:
    return text.strip().replace("+", "-").replace("/", "_").rstrip("=")
