"""Apple's push service: HTTP/2, a provider token signed with the developer's key, and JSON of at most 4096 bytes.

https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns and
".../establishing-a-token-based-connection-to-apns".
"""

from __future__ import annotations

import base64
import binascii
import ssl
import uuid
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from homeserver.clock import Clock
from homeserver.push.gateway.apns_payloads import apns_payload
from homeserver.push.gateway.apps import APNS_URL, AppSettings
from homeserver.push.gateway.json_web_tokens import ec_key, sign_es256
from homeserver.push.gateway.notification import Device, Dropped, Notification, Refused, Unreachable
from homeserver.push.http_pushes import retry_after

if TYPE_CHECKING:
    import httpx

TOKEN_SECONDS: Final = 40 * 60
""" "Refresh your token no more than once every 20 minutes and no less than once every 60 minutes." """
LIFETIME_SECONDS: Final = 24 * 60 * 60
"""How long Apple keeps what it cannot deliver: as long as a homeserver would try."""
TIMEOUT_SECONDS: Final = 20.0

GONE: Final = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic", "Unregistered", "ExpiredToken"})
"""Reasons that say that this device token will never do again."""
TOKEN_REASONS: Final = frozenset({"ExpiredProviderToken", "InvalidProviderToken", "MissingProviderToken"})


class Apns:
    """One app at Apple."""

    def __init__(self, app: AppSettings, clock: Clock) -> None:
        """Raises ValueError."""
        for name, value in (("key_id", app.key_id), ("team_id", app.team_id), ("topic", app.topic)):
            if not value:
                raise ValueError(f"{name} is missing.")
        self._app = app
        self._clock = clock
        self._key = ec_key(app.key)
        self._url = app.url or APNS_URL
        self._token = ""
        self._token_made = 0.0
        self._client: httpx.AsyncClient | None = None

    async def send(self, notification: Notification, device: Device) -> None:
        token = self._device_token(device)
        body = apns_payload(notification, device)
        if body is None:
            return
        headers = {
            "apns-id": str(uuid.uuid4()),
            "apns-topic": self._app.topic,
            "apns-push-type": self._app.push_type,
            # "Specify 5 to send the notification based on power considerations on the user's device".
            "apns-priority": "10" if notification.is_urgent and self._app.push_type != "background" else "5",
            "apns-expiration": str(self._clock.now_ms() // 1000 + LIFETIME_SECONDS),
        }
        status, reason, pause = await self._post(token, headers, body)
        if status == 403 and reason in TOKEN_REASONS:
            self._token = ""
            status, reason, pause = await self._post(token, headers, body)
        self._judge(status, reason, pause)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _judge(self, status: int, reason: str, pause: float | None) -> None:
        if status == 200:
            return
        if status == 410 or (status == 400 and reason in GONE):
            raise Refused(f"{status} {reason}")
        if status == 429:
            # One device got too much, or our provider token was made anew too often.
            raise Unreachable(f"429 {reason}", pause, is_for_all=reason == "TooManyProviderTokenUpdates")
        if status >= 500:
            raise Unreachable(f"{status} {reason}", pause)
        if status in (401, 403):
            raise Unreachable(f"the key is not accepted: {status} {reason}", 300.0)
        raise Dropped(f"{status} {reason}")

    async def _post(self, token: str, headers: dict[str, str], body: bytes) -> tuple[int, str, float | None]:
        """(status, Apple's reason, Retry-After)."""
        import httpx

        url = f"{self._url}/3/device/{quote(token, safe='')}"
        try:
            answer = await self._http().post(
                url, headers={**headers, "authorization": f"bearer {self._provider_token()}"}, content=body
            )
        except httpx.HTTPError as error:
            raise Unreachable(type(error).__name__) from None
        reason: Any = None
        if answer.status_code != 200:
            try:
                decoded = msgspec.json.decode(answer.content)
            except msgspec.DecodeError:
                decoded = None
            reason = decoded.get("reason") if isinstance(decoded, dict) else None
        return answer.status_code, str(reason or ""), retry_after(answer.headers)

    def _provider_token(self) -> str:
        now = self._clock.monotonic()
        if not self._token or now - self._token_made >= TOKEN_SECONDS:
            claims = {"iss": self._app.team_id, "iat": self._clock.now_ms() // 1000}
            self._token = sign_es256({"kid": self._app.key_id}, claims, self._key)
            self._token_made = now
        return self._token

    def _http(self) -> httpx.AsyncClient:
        """One or two connections for all that is sent; Apple takes many short ones for an attack."""
        if self._client is None:
            import httpx

            self._client = httpx.AsyncClient(
                http1=False,
                http2=True,
                verify=ssl.create_default_context(cafile=self._app.ca_file),
                timeout=TIMEOUT_SECONDS,
                trust_env=False,
                limits=httpx.Limits(max_connections=2, keepalive_expiry=600.0),
            )
        return self._client

    def _device_token(self, device: Device) -> str:
        """Apple wants hexadecimal. Spec: "It is recommended that the APNS token be base64 encoded and used as the
        pushkey"."""
        try:
            if self._app.hex_tokens:
                return bytes.fromhex(device.pushkey).hex()
            raw = base64.b64decode(device.pushkey + "=" * (-len(device.pushkey) % 4), validate=True)
        except (ValueError, binascii.Error):
            raise Refused("it is no device token") from None
        if not raw:
            raise Refused("it is no device token")
        return raw.hex()
