"""Google's Firebase Cloud Messaging, HTTP v1: an access token that is asked for with a service account's signature.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send and
https://developers.google.com/identity/protocols/oauth2/service-account
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from homeserver.clock import Clock
from homeserver.outbound.client import Outbound, OutboundAnswer, OutboundFailed
from homeserver.push.gateway.apps import FCM_URL, AppSettings
from homeserver.push.gateway.json_web_tokens import rsa_key, sign_rs256
from homeserver.push.gateway.notification import Device, Dropped, Notification, Refused, Unreachable, shorten
from homeserver.push.http_pushes import retry_after

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_SECONDS: Final = 3600
EARLY_SECONDS: Final = 300.0
"""How long before its end an access token is asked for anew."""
LONGEST_MEMBER: Final = 1024
LIMIT: Final = 4096
"""Bytes of `data`."""
QUOTA_SECONDS: Final = 60.0
"""After a 429 without Retry-After; Google asks for a minute at least."""
TIMEOUT_SECONDS: Final = 20.0


class ServiceAccount(msgspec.Struct):
    """The file that Google's console hands out."""

    project_id: str
    client_email: str
    private_key: str
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 (an address)
    private_key_id: str | None = None


class Fcm:
    """One app at Google."""

    def __init__(self, app: AppSettings, outbound: Outbound, clock: Clock) -> None:
        """Raises ValueError."""
        try:
            self._account = msgspec.json.decode(app.key, type=ServiceAccount)
        except msgspec.DecodeError:
            raise ValueError("The key is not the JSON file of a service account.") from None
        self._key = rsa_key(self._account.private_key)
        self._app = app
        self._outbound = outbound
        self._clock = clock
        base = app.url or FCM_URL
        self._url = f"{base}/v1/projects/{quote(self._account.project_id, safe='')}/messages:send"
        self._access_token = ""
        self._expires = 0.0
        self._asking = asyncio.Lock()

    async def send(self, notification: Notification, device: Device) -> None:
        body = msgspec.json.encode({"message": self._message(notification, device)})
        answer = await self._post(body)
        if answer.status == 401:  # the token was taken back, or somebody's clock is wrong
            self._access_token = ""
            answer = await self._post(body)
        self._judge(answer)

    async def close(self) -> None: ...

    def _message(self, notification: Notification, device: Device) -> dict[str, Any]:
        options = dict(self._app.options)
        android = options.pop("android", {})
        priority = "high" if notification.is_urgent else "normal"
        return {
            **options,
            "data": fcm_data(notification, device),
            "android": {**(android if isinstance(android, dict) else {}), "priority": priority},
            "token": device.pushkey,
        }

    def _judge(self, answer: OutboundAnswer) -> None:
        status = answer.status
        if 200 <= status < 300:
            return
        code, names_token = _error(answer.body)
        if status == 404 or code in ("UNREGISTERED", "SENDER_ID_MISMATCH") or (status == 400 and names_token):
            raise Refused(f"{status} {code}")
        if status == 429:
            raise Unreachable(f"429 {code}", retry_after(answer.headers) or QUOTA_SECONDS)
        if status >= 500:
            raise Unreachable(f"{status} {code}", retry_after(answer.headers))
        if status in (401, 403):
            raise Unreachable(f"the service account is not accepted: {status} {code}", 300.0)
        raise Dropped(f"{status} {code}")

    async def _post(self, body: bytes) -> OutboundAnswer:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {await self._token()}"}
        return await self._request(self._url, headers, body)

    async def _token(self) -> str:
        async with self._asking:
            if not self._access_token or self._clock.monotonic() >= self._expires - EARLY_SECONDS:
                await self._ask_for_token()
            return self._access_token

    async def _ask_for_token(self) -> None:
        account, now = self._account, self._clock.now_ms() // 1000
        header = {} if account.private_key_id is None else {"kid": account.private_key_id}
        claims = {
            "iss": account.client_email,
            "scope": SCOPE,
            "aud": account.token_uri,
            "iat": now,
            "exp": now + ASSERTION_SECONDS,
        }
        form = urlencode({"grant_type": GRANT, "assertion": sign_rs256(header, claims, self._key)})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await self._request(account.token_uri, headers, form.encode())
        if answer.status != 200:
            raise Unreachable(f"no access token: status {answer.status}", retry_after(answer.headers) or 300.0)
        try:
            decoded = msgspec.json.decode(answer.body)
            token, seconds = decoded["access_token"], float(decoded["expires_in"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            raise Unreachable("no access token: an answer that is none", 300.0) from None
        self._access_token, self._expires = token, self._clock.monotonic() + seconds

    async def _request(self, url: str, headers: dict[str, str], body: bytes) -> OutboundAnswer:
        try:
            return await self._outbound.request(
                "POST", url, headers=headers, body=body, timeout=TIMEOUT_SECONDS, max_bytes=64 * 1024, trusted=True
            )
        except OutboundFailed as error:
            raise Unreachable(str(error)) from None


def fcm_data(notification: Notification, device: Device) -> dict[str, str]:
    """The `data` of a message: texts alone, the members of the content beside the others as `content_<name>`. Raises
    Refused for a pusher whose `default_payload` is no object, Dropped for what does not fit."""
    default = device.data.get("default_payload", {})
    if not isinstance(default, dict):
        raise Refused("its default_payload is no object")
    data = {name: _text(value) for name, value in default.items()}
    for name in (
        "event_id",
        "type",
        "sender",
        "room_name",
        "room_alias",
        "membership",
        "sender_display_name",
        "room_id",
    ):
        value = getattr(notification, name)
        if value is not None:
            data[name] = shorten(value, LONGEST_MEMBER)
    content = {
        f"content_{name}": shorten(value, LONGEST_MEMBER)
        for name, value in (notification.content or {}).items()
        if isinstance(value, str)
    }
    data["prio"] = "high" if notification.is_urgent else "normal"
    if notification.counts.unread is not None:
        data["unread"] = str(notification.counts.unread)
    if notification.counts.missed_calls is not None:
        data["missed_calls"] = str(notification.counts.missed_calls)
    if _size(data) > LIMIT:
        raise Dropped("the payload is larger than the provider takes")
    room = LIMIT - _size(data)
    for name, value in sorted(content.items(), key=lambda item: len(item[1])):
        room -= _size({name: value})
        if room < 0:  # the longest go first; the app fetches the event anyway
            break
        data[name] = value
    return data


def _size(data: dict[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode("utf-8", "replace")) for name, value in data.items())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _error(body: bytes) -> tuple[str, bool]:
    """(FCM's error code, whether it names the token as what is wrong)."""
    try:
        error = msgspec.json.decode(body)["error"]
        details = error.get("details", [])
        code = next((one["errorCode"] for one in details if "errorCode" in one), error.get("status", ""))
        fields = [one.get("field") for detail in details for one in detail.get("fieldViolations", [])]
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return "", False
    return str(code), "message.token" in fields
