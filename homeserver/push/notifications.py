"""What a user was notified of, newest first, judged from stored events by the user's push rules when it is asked.

Spec: Client-Server API, "Push Notifications", `GET /notifications`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from homeserver.protocol.push_rules import highlights, notifies
from homeserver.protocol.push_rules_evaluation import EventForPush, compile_rules
from homeserver.push.unread_counts import RulesOf
from homeserver.rooms.client_events import EventSerializer, Reader
from homeserver.rooms.live_room import LiveRooms
from homeserver.rooms.receipts import PRIVATE, READ
from homeserver.rooms.thread_subscriptions import ThreadSubscriptions
from homeserver.rooms.visibility import RoomView, RoomVisibility
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.receipts import ReceiptStore
from homeserver.storage.rooms import RoomStore

SCANNED_PER_ROOM: Final = 200
"""How far back one request looks in each room."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One event that notified. `ts` in milliseconds."""

    position: int
    room_id: str
    event: msgspec.Raw
    actions: list[Any]
    read: bool
    ts: int


class Notifications:
    """Answers GET /notifications."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        store: RoomStore,
        events: EventStore,
        receipts: ReceiptStore,
        visibility: RoomVisibility,
        serializer: EventSerializer,
        rules_of: RulesOf,
        threads: ThreadSubscriptions,
    ) -> None:
        self._rooms = rooms
        self._store = store
        self._events = events
        self._receipts = receipts
        self._visibility = visibility
        self._serializer = serializer
        self._rules_of = rules_of
        self._threads = threads

    async def page(
        self, reader: Reader, *, start: int | None, limit: int, only_highlights: bool, ignored: frozenset[str]
    ) -> tuple[list[Notification], int | None]:
        """(notifications before the place `start`, the next page's place or None when there are no more)."""
        found: list[Notification] = []
        floor = 0
        for row in await self._store.list_memberships(reader.user_id):
            if row.membership != "join":
                continue
            scanned, notified = await self._in_room(reader, row.room_id, start, only_highlights, ignored)
            found += notified
            if len(scanned) == SCANNED_PER_ROOM:
                # Beyond the oldest event that was looked at here, another request has to look.
                floor = max(floor, scanned[-1].position)
        found = sorted((one for one in found if one.position >= floor), key=lambda one: one.position, reverse=True)
        if len(found) > limit:
            return found[:limit], found[limit - 1].position - 1
        return found, floor - 1 if floor else None

    async def _in_room(
        self, reader: Reader, room_id: str, start: int | None, only_highlights: bool, ignored: frozenset[str]
    ) -> tuple[list[StoredEvent], list[Notification]]:
        room = await self._rooms.get(room_id)
        scanned = await self._events.list_timeline(
            room_id,
            room.version,
            before=None if start is None else start + 1,
            limit=SCANNED_PER_ROOM,
            newest_first=True,
        )
        view = await self._visibility.view(room, reader.user_id)
        rules = compile_rules(await self._rules_of(reader.user_id))
        member = await self._rooms.member_event(room, reader.user_id)
        name = None if member is None else member.event.content.get("displayname")
        read_up_to = 0
        for receipt in await self._receipts.list_own(reader.user_id, room_id):
            if receipt.receipt_type in (READ, PRIVATE):
                read_up_to = max(read_up_to, receipt.event_position)
        levels = room.power_levels
        found: list[Notification] = []
        for stored in scanned:
            event = stored.event
            if event.sender == reader.user_id or event.sender in ignored or stored.redacted_because is not None:
                continue
            if not _was_there(view, stored):
                continue
            flattened = EventForPush(event, member_count=room.joined_count, levels=levels)
            follows = await self._threads.state_of(reader.user_id, stored)
            actions = rules.evaluate(flattened, reader.user_id, name if isinstance(name, str) else None, follows)
            if not notifies(actions) or (only_highlights and not highlights(actions)):
                continue
            membership = view.membership_at(stored.position)
            shown = Reader(reader.user_id, reader.device_id, membership)
            found.append(
                Notification(
                    stored.position,
                    room_id,
                    self._serializer.serialize(stored, shown),
                    list(actions or ()),
                    stored.position <= read_up_to,
                    event.origin_server_ts,
                )
            )
        return scanned, found


def _was_there(view: RoomView, stored: StoredEvent) -> bool:
    """Whether the user saw the event come: it is visible, and they were in the room or invited by it."""
    return view.shows(stored) and view.membership_at(stored.position) in ("join", "invite")
