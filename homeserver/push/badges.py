"""How much is unread over all rooms of a user: the number on the icon of an app.

Remembered by room, and asked again only where something happened. Spec: Push Gateway API, `counts`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from homeserver.push.unread_counts import UnreadCounts
from homeserver.rooms.receipts import PRIVATE, READ, UNTHREADED
from homeserver.rooms.services import RoomServices
from homeserver.storage.receipts import ReceiptStore
from homeserver.storage.rooms import Membership
from homeserver.stream import Change, Stream

NewestOf = Callable[[Sequence[str]], Awaitable[dict[str, int]]]
"""Where the newest event of each of these rooms stands."""
HidesInvite = Callable[[str, str], Awaitable[bool]]
"""(user, sender): whether the user is not shown invites by the sender."""

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

    def __init__(
        self,
        *,
        rooms: RoomServices,
        receipts: ReceiptStore,
        newest_of: NewestOf,
        hides_invite: HidesInvite,
        counts: UnreadCounts,
        stream: Stream,
        counts_rooms: bool,
    ) -> None:
        self._rooms = rooms
        self._receipts = receipts
        self._newest_of = newest_of
        self._hides_invite = hides_invite
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
        is_new, quiet = before < 0, frozenset[str]()
        if is_new or stream.changed_since(Change.MEMBERSHIP, user_id, before):
            memberships = await self._rooms.store.list_memberships(user_id)
            known.joined = [row.room_id for row in memberships if row.membership == "join"]
            invites = [row for row in memberships if row.membership == "invite"]
            known.invites = len([row for row in invites if not await self._hides_invite(user_id, row.sender)])
            known.unread = {room_id: known.unread.get(room_id, 0) for room_id in known.joined}
            quiet = await self._without_news(user_id, memberships)
            is_new = True
        read = is_new or stream.changed_since(Change.PRIVATE_RECEIPTS, user_id, before)
        rules = stream.changed_since(Change.ACCOUNT_DATA, user_id, before)
        for room_id in known.joined:
            moved = is_new or rules or stream.changed_since(Change.EVENTS, room_id, before)
            if not moved and not (read and known.unread.get(room_id)):
                continue
            if room_id in quiet:
                known.unread[room_id] = 0
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

    async def _without_news(self, user_id: str, memberships: Sequence[Membership]) -> frozenset[str]:
        """The rooms in which nothing came after the user joined or read all of it: they need not even be loaded."""
        seen = {row.room_id: row.position for row in memberships if row.membership == "join"}
        for receipt in await self._receipts.list_own(user_id):
            is_whole = receipt.thread_id == UNTHREADED and receipt.receipt_type in (READ, PRIVATE)
            if is_whole and receipt.room_id in seen:
                seen[receipt.room_id] = max(seen[receipt.room_id], receipt.event_position)
        newest = await self._newest_of(list(seen))
        return frozenset(room_id for room_id, position in seen.items() if newest.get(room_id, 0) <= position)
