"""An event that waits to be told to somebody: whether it still is to be, and what may be told of it.

Looked up when it is told, not when it came: what was redacted, read or left in the meantime is told to nobody (G04).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from homeserver.protocol.push_rules import Action, tweaks
from homeserver.protocol.relations import THREAD, relation_of
from homeserver.rooms.live_room import MEMBER, LiveRoom
from homeserver.rooms.receipts import MAIN, PRIVATE, READ, UNTHREADED
from homeserver.rooms.services import RoomServices
from homeserver.storage.events import ACCEPTED, StoredEvent
from homeserver.storage.push_queue import QueuedPush
from homeserver.storage.receipts import ReceiptStore

ENCRYPTED = "m.room.encrypted"


@dataclass(frozen=True, slots=True)
class UnreadEvent:
    """An event, and what a notification says beside it. `sender_name`: in the room, None where there is none."""

    user_id: str
    stored: StoredEvent
    room: LiveRoom
    actions: list[Action]
    sender_name: str | None

    @property
    def event_id(self) -> str:
        return self.stored.event_id

    @property
    def room_id(self) -> str:
        return self.room.room_id

    @property
    def room_name(self) -> str | None:
        """What the room is called: by its name, or by its alias."""
        return _text(self.room.content("m.room.name").get("name")) or self.room_alias

    @property
    def room_alias(self) -> str | None:
        return _text(self.room.content("m.room.canonical_alias").get("alias"))

    @property
    def priority(self) -> str:
        """ "low" lets a phone sleep: for what neither makes a sound nor is highlighted. What is encrypted may."""
        made = tweaks(self.actions)
        urgent = self.stored.event.type == ENCRYPTED or made.get("highlight") or made.get("sound")
        return "high" if urgent else "low"

    def details(self, *, includes_content: bool) -> dict[str, Any]:
        """The members of a notification that tell more than which event it was."""
        event = self.stored.event
        details: dict[str, Any] = {"type": event.type, "sender": event.sender}
        names = {
            "sender_display_name": self.sender_name,
            "room_name": self.room_name,
            "room_alias": self.room_alias,
        }
        details |= {member: name for member, name in names.items() if name is not None}
        if event.type == MEMBER:
            details["user_is_target"] = event.state_key == self.user_id
            membership = event.content.get("membership")
            if isinstance(membership, str):
                details["membership"] = membership
        if includes_content:
            details["content"] = event.content
        return details


class UnreadEvents:
    """Looks them up."""

    def __init__(self, rooms: RoomServices, receipts: ReceiptStore) -> None:
        self._rooms = rooms
        self._receipts = receipts

    async def find(self, user_id: str, push: QueuedPush) -> UnreadEvent | None:
        """None when there is nothing to tell any more."""
        room = await self._rooms.live.find(push.room_id)
        if room is None:
            return None
        found = await self._rooms.events.find_events(push.room_id, room.version, [push.event_id])
        stored = found[0] if found else None
        if stored is None or stored.status != ACCEPTED or stored.redacted_because is not None:
            return None
        event = stored.event
        if event.type == MEMBER and event.state_key == user_id:
            if room.state_ids.get((MEMBER, user_id)) != event.event_id:
                return None  # an invitation that was answered, or taken back
        elif room.membership(user_id) != "join":
            return None
        if await self._is_read(user_id, stored):
            return None
        sender = await self._rooms.live.member_event(room, event.sender)
        name = None if sender is None else _text(sender.event.content.get("displayname"))
        return UnreadEvent(user_id, stored, room, msgspec.json.decode(push.actions), name)

    async def _is_read(self, user_id: str, stored: StoredEvent) -> bool:
        thread = MAIN
        relation = relation_of(stored.event.content)
        if stored.event.state_key is None and relation.rel_type == THREAD and relation.event_id is not None:
            thread = relation.event_id
        return any(
            receipt.event_position >= stored.position
            for receipt in await self._receipts.list_own(user_id, stored.event.room_id)
            if receipt.receipt_type in (READ, PRIVATE) and receipt.thread_id in (UNTHREADED, thread)
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
