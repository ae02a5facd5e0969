"""Pushers of the kind `http`: each notification is one request to the push gateway that the user's app has named.

The address is the user's, so it is reached through the guarded client (C04), and only at the path of the spec; what the
operator vouches for may be private. A gateway of our own is called without a detour.

Spec: Push Gateway API, `POST /_matrix/push/v1/notify`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import msgspec

from homeserver.outbound.client import Outbound, OutboundFailed
from homeserver.protocol.push_rules import tweaks
from homeserver.push.badges import Badges
from homeserver.push.deliveries import Delivered, Failed, Outcome, Rejected
from homeserver.push.own_gateway import OwnGateway, OwnGatewayFailed
from homeserver.push.pushers import data_of, wants_badges
from homeserver.push.unread_events import UnreadEvent, UnreadEvents
from homeserver.storage.push_queue import PushProgress, QueuedPush
from homeserver.storage.pushers import Pusher

PATH: Final = "/_matrix/push/v1/notify"
TIMEOUT_SECONDS: Final = 30.0
MAX_ANSWER_BYTES: Final = 64 * 1024
AT_ONCE: Final = 20
"""Notifications that one gateway is told at a time."""
EVENT_ID_ONLY: Final = "event_id_only"


class HttpPushes:
    """`trusted`: origins that the operator vouches for. `own`: our gateway, and the URLs that it has."""

    def __init__(
        self,
        *,
        outbound: Outbound,
        events: UnreadEvents,
        badges: Badges,
        trusted: Collection[str],
        includes_content: bool,
        own: OwnGateway | None = None,
        own_url: str = "",
    ) -> None:
        self._outbound = outbound
        self._events = events
        self._badges = badges
        self._trusted = frozenset(trusted)
        self._includes_content = includes_content
        self._own = own
        self._own_url = own_url
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def deliver(self, pusher: Pusher, waiting: list[QueuedPush], progress: PushProgress) -> Outcome:
        """The oldest of what waits, unless it was read in the meantime."""
        url = data_of(pusher).get("url")
        if not isinstance(url, str) or urlsplit(url).path != PATH:
            return Rejected("its URL is none of a push gateway")
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        turn = self._turns.get(origin)
        if turn is None:
            turn = self._turns[origin] = asyncio.Semaphore(AT_ONCE)
        # A room may have thousands of members: not all of them ask the database at once.
        async with turn:
            return await self._deliver(pusher, url, origin, waiting, progress)

    async def _deliver(
        self, pusher: Pusher, url: str, origin: str, waiting: list[QueuedPush], progress: PushProgress
    ) -> Outcome:
        push = waiting[0]
        unread: UnreadEvent | None = None
        if push.event_id:
            unread = await self._events.find(pusher.user_id, push)
            if unread is None:
                return Delivered((push.position,), was_sent=False)
        elif any(later.event_id for later in waiting):
            return Delivered((push.position,), was_sent=False)  # that will tell the number, too
        badge = await self._badges.of_user(pusher.user_id) if wants_badges(pusher) else None
        if unread is None and (badge is None or badge == (progress.badge or 0)):
            return Delivered((push.position,), was_sent=False)
        body = self._body(pusher, unread, badge)
        failed = await self._send(pusher, url, origin, body)
        return Delivered((push.position,), badge=badge) if failed is None else failed

    def _body(self, pusher: Pusher, unread: UnreadEvent | None, badge: int | None) -> dict[str, Any]:
        data = data_of(pusher)
        data.pop("url", None)
        device: dict[str, Any] = {
            "app_id": pusher.app_id,
            "pushkey": pusher.pushkey,
            "pushkey_ts": pusher.updated_ts // 1000,
            "data": data,
        }
        body: dict[str, Any] = {}
        if badge is not None:
            # "Counts whose value is zero should be omitted", but then no app would ever clear its icon.
            body["counts"] = {"unread": badge}
        if unread is not None:
            body |= {"event_id": unread.event_id, "room_id": unread.room_id, "prio": unread.priority}
            # Who asks for the ID alone gets nothing that tells of the message (G10).
            if data.get("format") != EVENT_ID_ONLY:
                body |= unread.details(includes_content=self._includes_content)
                device["tweaks"] = tweaks(unread.actions)
        return {**body, "devices": [device]}

    async def _send(
        self, pusher: Pusher, url: str, origin: str, notification: dict[str, Any]
    ) -> Failed | Rejected | None:
        if self._own is not None and url == self._own_url and self._own.serves(pusher.app_id):
            try:
                rejected: Any = await self._own.notify(notification)
            except OwnGatewayFailed as error:
                return Failed(str(error), error.retry_after)
            return Rejected("its provider does not know it") if pusher.pushkey in rejected else None
        try:
            answer = await self._outbound.request(
                "POST",
                url,
                headers={"Content-Type": "application/json"},
                body=msgspec.json.encode({"notification": notification}),
                timeout=TIMEOUT_SECONDS,
                max_bytes=MAX_ANSWER_BYTES,
                trusted=origin in self._trusted,
            )
        except OutboundFailed as error:
            return Failed(str(error))
        if not 200 <= answer.status < 300:
            return Failed(f"status {answer.status}", retry_after(answer.headers))
        try:
            decoded = msgspec.json.decode(answer.body)
        except msgspec.DecodeError:
            return None  # it was taken
        rejected = decoded.get("rejected") if isinstance(decoded, dict) else None
        # A gateway speaks for what it was asked about, and for nobody else's pushers.
        if isinstance(rejected, list) and pusher.pushkey in rejected:
            return Rejected("its gateway rejects it")
        return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of a Retry-After header (RFC 9110, section 10.2.3); dates are not read."""
    text = headers.get("retry-after", "").strip()
    return float(text) if text.isdecimal() and len(text) < 8 else None
