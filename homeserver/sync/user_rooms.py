"""The memberships of users who sync, kept in memory until one of them changes."""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from homeserver.notifier import Notifier
from homeserver.protocol.errors import Unavailable
from homeserver.rooms.membership import Memberships
from homeserver.storage.rooms import Membership
from homeserver.stream import Change, Stream

REMEMBERED: Final = 20_000


class KnownRooms:
    """The memberships of a user that are not forgotten, as of one moment. `joined`: those of "join", by room."""

    __slots__ = ("_places", "joined", "rows")

    def __init__(self, rows: Iterable[Membership]) -> None:
        self.rows = sorted(rows, key=lambda row: row.position)
        self._places = [row.position for row in self.rows]
        self.joined = {row.room_id: row for row in self.rows if row.membership == "join"}

    def news(self, after: int) -> Sequence[Membership]:
        """Those that began after a position, in the order of their beginnings."""
        if not self._places or self._places[-1] <= after:
            return ()
        return self.rows[bisect_right(self._places, after) :]


class UserRooms:
    """Memberships by user."""

    def __init__(self, memberships: Memberships, stream: Stream, notifier: Notifier) -> None:
        self._memberships = memberships
        self._notifier = notifier
        self._known: OrderedDict[str, KnownRooms] = OrderedDict()
        self._generation = 0
        self._telling: set[asyncio.Task[None]] = set()
        stream.listen(self._changed)

    async def of_user(self, user_id: str) -> KnownRooms:
        """The user's rooms."""
        known = self._known.get(user_id)
        if known is not None and self._notifier.follows(user_id):
            return known
        while True:
            generation = self._generation
            found = KnownRooms(row for row in await self._memberships.memberships(user_id) if not row.forgotten)
            if generation == self._generation:
                break
        self._known[user_id] = found
        self._known.move_to_end(user_id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        self._notifier.follow_rooms(user_id, found.joined)
        return found

    def forget_all(self) -> None:
        """Another process may have changed anything."""
        self._generation += 1
        self._known.clear()

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is Change.MEMBERSHIP:
            self._generation += 1
            for user_id in users:
                self._known.pop(user_id, None)
        elif kind is Change.DEVICE_LISTS:
            for user_id in users:
                if not self._notifier.follows(user_id):
                    task = asyncio.ensure_future(self._wake_rooms(user_id))
                    self._telling.add(task)
                    task.add_done_callback(self._telling.discard)

    async def _wake_rooms(self, user_id: str) -> None:
        """A new device is news for those who share a room with the user, of whom the notifier does not know while none
        of the user's devices syncs."""
        with contextlib.suppress(Unavailable):
            self._notifier.wake(rooms=await self._memberships.joined_rooms(user_id))
