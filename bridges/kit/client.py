"""The Client-Server API as an application service uses it: masquerading with ?user_id=, and safe to repeat.

Every call here may be sent twice without doubling anything (transaction ids, deterministic aliases, idempotent PUTs),
so a lost answer, a 429 or a 5xx is simply tried again with growing pauses. A 4xx is final and raises `Refused`.
Spec: Application Service API, "Client-Server API Extensions".
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from bridges.kit.clock import Clock
from bridges.kit.requests import Answer, Requests, Unreachable

log = logging.getLogger(__name__)

V3 = "/_matrix/client/v3"
MAX_JSON = 8 * 1024 * 1024
LONGEST_PAUSE = 60.0


class Refused(Exception):
    """The homeserver answered, and the answer was no."""

    def __init__(self, status: int, errcode: str, message: str) -> None:
        super().__init__(f"{status} {errcode}: {message}")
        self.status = status
        self.errcode = errcode
        self.message = message


class NotReady(Exception):
    """The homeserver does not let this bridge work (yet): its registration is missing, old, or of other names. Nothing
    that waits is given up for this; the operator has to put it right."""


class GaveUp(Exception):
    """The allowed number of attempts was used up without an answer that counts."""


def part(text: str) -> str:
    """One path segment: nothing in `text` can end it."""
    return quote(text, safe="")


class MatrixClient:
    """One application service on one homeserver. `user` is the ghost to act as; None is the bot itself."""

    def __init__(self, requests: Requests, as_token: str, clock: Clock, *, jitter: random.Random | None = None) -> None:
        self._requests = requests
        self._headers = {"Authorization": f"Bearer {as_token}"}
        self._clock = clock
        self._jitter = jitter or random.Random()  # noqa: S311 -- spreads retries, guards nothing

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        user: str | None = None,
        query: Mapping[str, str] | None = None,
        attempts: int | None = None,
    ) -> dict[str, Any]:
        """One JSON call. `attempts` None means for ever: order in a chat is kept by waiting.

        Raises Refused on a 4xx other than 429, GaveUp when `attempts` is used up.
        """
        data = b"" if method == "GET" else msgspec.json.encode(dict(body or {}))
        headers = {**self._headers, "Content-Type": "application/json"}
        answer = await self._repeat(method, path, data, headers, user, query, attempts, MAX_JSON)
        decoded = _decode(answer.body)
        if answer.status >= 300:
            raise Refused(answer.status, str(decoded.get("errcode", "M_UNKNOWN")), str(decoded.get("error", "")))
        return decoded

    async def _repeat(
        self,
        method: str,
        path: str,
        data: bytes,
        headers: Mapping[str, str],
        user: str | None,
        query: Mapping[str, str] | None,
        attempts: int | None,
        limit: int,
    ) -> Answer:
        parameters = dict(query or {})
        if user is not None:
            parameters["user_id"] = user
        attempt = 0
        while True:
            attempt += 1
            wait: float | None = None
            try:
                answer = await self._requests.request(method, path, parameters, headers, data, limit)
                # 401: the homeserver has not read our registration yet. Only short-lived calls take that as answer.
                again = answer.status == 429 or answer.status >= 500 or (answer.status == 401 and attempts is None)
                if not again:
                    return answer
                why = f"status {answer.status}"
                wait = _asked_pause(answer)
            except Unreachable as error:
                why = str(error)
            if attempts is not None and attempt >= attempts:
                raise GaveUp(f"{method} {path}: {why}")
            if wait is None:
                wait = min(LONGEST_PAUSE, 0.5 * 2 ** min(attempt - 1, 10)) * (1 + self._jitter.random() / 4)
            level = logging.WARNING if attempt > 1 else logging.INFO  # one failure is everyday life, as at the start
            log.log(level, "%s %s: %s; attempt %d, again in %.1f s", method, path, why, attempt, wait)
            await self._clock.sleep(wait)

    async def register(self, localpart: str) -> None:
        """Make sure that the ghost exists. Raises NotReady when the homeserver does not allow it."""
        body = {"type": "m.login.application_service", "username": localpart, "inhibit_login": True}
        try:
            await self.call("POST", f"{V3}/register", body)
        except Refused as refused:
            if refused.errcode != "M_USER_IN_USE":
                raise NotReady(f"{localpart} could not be registered: {refused}") from refused

    async def set_display_name(self, user: str, name: str) -> None:
        await self.call("PUT", f"{V3}/profile/{part(user)}/displayname", {"displayname": name}, user=user)

    async def create_room(self, body: Mapping[str, Any], alias: str) -> str:
        """Create a room that has `alias`, or find the one that an interrupted attempt created. Answers its id.

        Raises NotReady when the homeserver does not allow it.
        """
        localpart = alias[1:].split(":", 1)[0]
        try:
            answer = await self.call("POST", f"{V3}/createRoom", {**body, "room_alias_name": localpart})
        except Refused as refused:
            if refused.errcode != "M_ROOM_IN_USE":
                raise NotReady(f"no room could be created: {refused}") from refused
            answer = await self.call("GET", f"{V3}/directory/room/{part(alias)}")
        return str(answer["room_id"])

    async def join(self, room_id: str, *, user: str | None = None) -> None:
        await self.call("POST", f"{V3}/rooms/{part(room_id)}/join", user=user)

    async def leave(self, room_id: str, *, user: str | None = None) -> None:
        await self.call("POST", f"{V3}/rooms/{part(room_id)}/leave", user=user)

    async def invite(self, room_id: str, invitee: str) -> None:
        await self.call("POST", f"{V3}/rooms/{part(room_id)}/invite", {"user_id": invitee})

    async def get_state(self, room_id: str, event_type: str, state_key: str = "") -> dict[str, Any]:
        return await self.call("GET", f"{V3}/rooms/{part(room_id)}/state/{part(event_type)}/{part(state_key)}")

    async def set_state(self, room_id: str, event_type: str, content: Mapping[str, Any], state_key: str = "") -> None:
        await self.call("PUT", f"{V3}/rooms/{part(room_id)}/state/{part(event_type)}/{part(state_key)}", content)

    async def send(
        self,
        room_id: str,
        event_type: str,
        content: Mapping[str, Any],
        txn_id: str,
        *,
        user: str | None = None,
        timestamp_ms: int | None = None,
    ) -> str:
        """Send an event; the same `txn_id` gives the same event however often it is sent. Answers the event id."""
        query = {} if timestamp_ms is None else {"ts": str(timestamp_ms)}
        path = f"{V3}/rooms/{part(room_id)}/send/{part(event_type)}/{part(txn_id)}"
        return str((await self.call("PUT", path, content, user=user, query=query))["event_id"])

    async def redact(self, room_id: str, event_id: str, txn_id: str, *, user: str | None = None) -> str:
        path = f"{V3}/rooms/{part(room_id)}/redact/{part(event_id)}/{part(txn_id)}"
        return str((await self.call("PUT", path, {}, user=user))["event_id"])

    async def set_typing(self, room_id: str, user: str, typing: bool, timeout_ms: int = 20_000) -> None:
        """Tried once: a moment later it would no longer be true."""
        body: dict[str, Any] = {"typing": True, "timeout": timeout_ms} if typing else {"typing": False}
        await self.call("PUT", f"{V3}/rooms/{part(room_id)}/typing/{part(user)}", body, user=user, attempts=1)

    async def send_receipt(self, room_id: str, event_id: str, *, user: str | None = None) -> None:
        path = f"{V3}/rooms/{part(room_id)}/receipt/m.read/{part(event_id)}"
        await self.call("POST", path, {}, user=user, attempts=3)

    async def upload(self, data: bytes, mimetype: str, filename: str, *, user: str | None = None) -> str:
        """Answers the mxc:// URI. A repeated upload wastes space but doubles no message."""
        headers = {**self._headers, "Content-Type": mimetype}
        path = "/_matrix/media/v3/upload"
        answer = await self._repeat("POST", path, data, headers, user, {"filename": filename}, 5, MAX_JSON)
        decoded = _decode(answer.body)
        if answer.status >= 300:
            raise Refused(answer.status, str(decoded.get("errcode", "M_UNKNOWN")), str(decoded.get("error", "")))
        return str(decoded["content_uri"])

    async def download(self, mxc: str, limit: int) -> Answer:
        """The bytes behind an mxc:// URI, at most `limit`. Raises Refused, GaveUp, or ValueError on a bad URI."""
        server, _, media_id = mxc.removeprefix("mxc://").partition("/")
        if not mxc.startswith("mxc://") or not server or not media_id:
            raise ValueError("not an mxc URI")
        path = f"/_matrix/client/v1/media/download/{part(server)}/{part(media_id)}"
        answer = await self._repeat("GET", path, b"", self._headers, None, None, 2, limit)
        if answer.status != 200:
            raise Refused(answer.status, "M_NOT_FOUND", "the homeserver does not give this file")
        return answer

    async def ping(self, appservice_id: str, transaction_id: str) -> int:
        """Ask the homeserver to call us; milliseconds that took. Tried once: the caller decides what failure means."""
        path = f"/_matrix/client/v1/appservice/{part(appservice_id)}/ping"
        return int((await self.call("POST", path, {"transaction_id": transaction_id}, attempts=1))["duration_ms"])


def _decode(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _asked_pause(answer: Answer) -> float | None:
    """Seconds that the server asks us to wait: Retry-After, or the older retry_after_ms of the body."""
    header = answer.headers.get("retry-after", "")
    if header.isascii() and header.isdigit():
        return min(float(header), 300.0)
    asked = _decode(answer.body).get("retry_after_ms")
    return min(asked / 1000, 300.0) if isinstance(asked, int) and asked >= 0 else None
