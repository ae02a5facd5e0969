"""Pushers of the kind `email`: one e-mail about everything that stayed unread for a while, and ever fewer of them.

The first comes ten minutes after the oldest unread notification, when the user has not read it by then. While nothing
is read, the next ones wait longer and longer; whoever reads anything begins anew. What was read, redacted or left in
the meantime is in no e-mail. Spec: Client-Server API, `POST /pushers/set`, `kind`.
"""

from __future__ import annotations

from typing import Final

from homeserver.clock import Clock
from homeserver.mail.mailer import Mailer, MailFailed
from homeserver.push.deliveries import Delivered, Failed, Later, Outcome, Rejected
from homeserver.push.digests import DigestEvent, DigestRoom, write_digest
from homeserver.push.http_pushes import EVENT_ID_ONLY
from homeserver.push.pushers import data_of, key_of
from homeserver.push.unread_events import ENCRYPTED, UnreadEvent, UnreadEvents
from homeserver.push.unsubscribing import UnsubscribeLinks
from homeserver.storage.push_queue import PushProgress, QueuedPush
from homeserver.storage.pushers import Pusher
from homeserver.storage.receipts import ReceiptStore
from homeserver.users.hooks import UserHooks

FIRST_MS: Final = 10 * 60 * 1000
"""How long something is unread before there is an e-mail about it."""
PAUSES_MS: Final = (60 * 60 * 1000, 6 * 60 * 60 * 1000, 24 * 60 * 60 * 1000)
"""After the first, the second, and each further e-mail of which nothing was read."""
SHOWN_ROOMS: Final = 10
SHOWN_EVENTS: Final = 5
"""Of each room."""


class EmailPushes:
    """Writes and sends them."""

    def __init__(
        self,
        *,
        mailer: Mailer,
        events: UnreadEvents,
        receipts: ReceiptStore,
        hooks: UserHooks,
        links: UnsubscribeLinks,
        server_name: str,
        includes_content: bool,
        clock: Clock,
    ) -> None:
        self._mailer = mailer
        self._events = events
        self._receipts = receipts
        self._hooks = hooks
        self._links = links
        self._server_name = server_name
        self._includes_content = includes_content
        self._clock = clock

    async def deliver(self, pusher: Pusher, waiting: list[QueuedPush], progress: PushProgress) -> Outcome:
        if not await self._is_own_address(pusher):
            return Rejected("the address was removed from the account")
        pause_ms = progress.pause_ms
        if pause_ms and await self._has_read_since(pusher.user_id, progress.sent_ts):
            pause_ms = 0
        due = waiting[0].queued_ts + FIRST_MS
        if pause_ms:
            due = max(due, progress.sent_ts + pause_ms)
        unread = [(push, await self._events.find(pusher.user_id, push)) for push in waiting]
        gone = tuple(push.position for push, event in unread if event is None)
        if gone:
            return Delivered(gone, was_sent=False)
        if due > self._clock.now_ms():
            return Later(due)
        rooms = self._rooms(pusher, [event for _, event in unread if event is not None])
        digest = write_digest(
            "zh" if pusher.lang.lower().startswith("zh") else "en",
            self._server_name,
            rooms,
            unsubscribe=self._links.link(key_of(pusher)),
        )
        try:
            await self._mailer.send(pusher.pushkey, digest.subject, digest.text, digest.html)
        except MailFailed as error:
            return Failed(str(error))
        positions = tuple(push.position for push in waiting)
        return Delivered(positions, pause_ms=next((one for one in PAUSES_MS if one > pause_ms), PAUSES_MS[-1]))

    async def _is_own_address(self, pusher: Pusher) -> bool:
        if self._hooks.list_emails is None:
            return False
        return pusher.pushkey in await self._hooks.list_emails(pusher.user_id)

    async def _has_read_since(self, user_id: str, ts: int) -> bool:
        return any(receipt.ts >= ts for receipt in await self._receipts.list_own(user_id))

    def _rooms(self, pusher: Pusher, events: list[UnreadEvent]) -> list[DigestRoom]:
        """The rooms, the one with the newest event first. Who asks for event IDs alone gets no content (G10)."""
        tells = self._includes_content and data_of(pusher).get("format") != EVENT_ID_ONLY
        by_room: dict[str, list[UnreadEvent]] = {}
        for event in reversed(events):
            by_room.setdefault(event.room_id, []).append(event)
        rooms: list[DigestRoom] = []
        for found in by_room.values():
            shown = [_digest_event(event) for event in reversed(found[:SHOWN_EVENTS])] if tells else []
            rooms.append(DigestRoom(found[0].room_name if tells else None, len(found), shown))
        return rooms[:SHOWN_ROOMS]


def _digest_event(unread: UnreadEvent) -> DigestEvent:
    event = unread.stored.event
    sender = unread.sender_name or event.sender
    if event.type == ENCRYPTED:
        return DigestEvent(sender, "encrypted")
    if event.type == "m.room.member":
        return DigestEvent(sender, "invite")
    body = event.content.get("body")
    if event.type == "m.room.message" and isinstance(body, str):
        return DigestEvent(sender, "message", body)
    return DigestEvent(sender, "other")
