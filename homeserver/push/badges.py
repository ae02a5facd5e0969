"""How much is unread over all rooms of a user: the number on the icon of an app.

Remembered by room, and asked again only where something happened. Spec: Push Gateway API, `counts`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from homeserver.push.unread_counts import UnreadCounts
from homeserver.rooms.services import RoomServices
from homeserver.stream import Change, Stream

REMEMBERED: Final = 1_000
"""Users."""


class _Known:
    """What is known of one user as of `position`: unread notifications by room (those without any left out), and which
    rooms they are in at all."""

    __slots__ = ("invites", "joined", "position", "unread")

    def __init__(self) -> None:
        self.position = -1
        self.joined: list[str] = []
        self.invites = 0
        self.unread: dict[str, int] = {}


class Badges:
    """Counts. `counts_rooms`: rooms with unread notifications; else the notifications themselves."""

    def __init__(self, *, rooms: RoomServices, counts: UnreadCounts, stream: Stream, counts_rooms: bool) -> None:
        self._rooms = rooms
        self._counts = counts
        self._stream = stream
        self._counts_rooms = counts_rooms
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def forget_all(self) -> None:
        """Another process wrote."""
        self._known.clear()

    async def of_user(self, user_id: str) -> int:
        """The number now: invites, and what is unread."""
        known = self._known.get(user_id) or _Known()
        stream, before, now = self._stream, known.position, self._stream.position
        is_new = before < 0
        if is_new or stream.changed_since(Change.MEMBERSHIP, user_id, before):
            memberships = await self._rooms.store.list_memberships(user_id)
            known.joined = [row.room_id for row in memberships if row.membership == "join"]
            known.invites = sum(row.membership == "invite" for row in memberships)
            known.unread = {room_id: known.unread.get(room_id, 0) for room_id in known.joined}
            is_new = True
        read = is_new or stream.changed_since(Change.PRIVATE_RECEIPTS, user_id, before)
        rules = stream.changed_since(Change.ACCOUNT_DATA, user_id, before)
        for room_id in known.joined:
            moved = is_new or rules or stream.changed_since(Change.EVENTS, room_id, before)
            if not moved and not (read and known.unread.get(room_id)):
                continue
            room = await self._rooms.live.find(room_id)
            if room is not None:
                counts = await self._counts.of_room(user_id, room, max(now, room.last_position))
                known.unread[room_id] = counts.everything.notifications
        known.position = now
        self._known[user_id] = known
        self._known.move_to_end(user_id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        if self._counts_rooms:
            return known.invites + sum(count > 0 for count in known.unread.values())
        return known.invites + sum(known.unread.values())
