"""Who is typing: kept in memory only, with places of its own.

Places begin at the time of the first change after each start, so that a place of an earlier run is told apart from
those of this one: whoever comes back with one has seen people type who may have stopped with the old process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from homeserver.clock import Clock, Timer
from homeserver.notifier import Notifier
from homeserver.protocol.errors import NotInRoom
from homeserver.rooms.live_room import LiveRooms
from homeserver.stream import Change, ChangeMemory, Stream

MAX_TIMEOUT_MS: Final = 120_000
DEFAULT_TIMEOUT_MS: Final = 30_000


class Typing:
    """Typing notifications of rooms. Spec: Client-Server API, "Typing notifications"."""

    def __init__(self, *, rooms: LiveRooms, stream: Stream, notifier: Notifier, clock: Clock) -> None:
        self._rooms = rooms
        self._notifier = notifier
        self._clock = clock
        self._serial = 0
        self._first = 0
        self._typing: dict[str, dict[str, Timer]] = {}
        self._changed = ChangeMemory(0)
        self._listeners: list[Callable[[str], None]] = []
        stream.listen(self._stream_moved)

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call `listener(room_id)` whenever who types in a room changes."""
        self._listeners.append(listener)

    @property
    def serial(self) -> int:
        """The place of the newest change; 0 when there was none since the start."""
        return self._serial

    async def set_typing(self, user_id: str, room_id: str, *, typing: bool, timeout_ms: int | None = None) -> None:
        """`user_id` types, for at most `timeout_ms`, or stopped. Raises Forbidden for people outside the room."""
        room = await self._rooms.find(room_id)
        if room is None or not room.may_be_joined(user_id):
            raise NotInRoom()
        if not typing:
            self.stop(user_id, room_id)
            return
        seconds = min(max(timeout_ms or DEFAULT_TIMEOUT_MS, 0), MAX_TIMEOUT_MS) / 1000
        typists = self._typing.setdefault(room_id, {})
        before = typists.get(user_id)
        if before is not None:
            before.cancel()
        typists[user_id] = self._clock.call_later(seconds, lambda: self.stop(user_id, room_id))
        if before is None:
            self._announce(room_id)

    def stop(self, user_id: str, room_id: str) -> None:
        """`user_id` types no more: it said so, sent a message, left, or its time ran out."""
        typists = self._typing.get(room_id)
        if typists is None or user_id not in typists:
            return
        typists.pop(user_id).cancel()
        if not typists:
            del self._typing[room_id]
        self._announce(room_id)

    def _stream_moved(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        """Whoever left a room does not type there (G06)."""
        if kind is Change.MEMBERSHIP and self._typing:
            for room_id, typists in list(self._typing.items()):
                for user_id in users:
                    if user_id in typists:
                        room = self._rooms.peek(room_id)
                        if room is None or room.membership(user_id) != "join":
                            self.stop(user_id, room_id)

    def who(self, room_id: str) -> list[str]:
        """Who types in a room."""
        return list(self._typing.get(room_id, ()))

    def is_of_earlier_run(self, serial: int) -> bool:
        """Whether a place is one that another run of the server gave, which nothing is known about any more."""
        return serial != 0 and not self._first <= serial <= self._serial

    def changed_among(self, rooms: Collection[str], serial: int) -> list[str]:
        """Those of `rooms` where who types changed after a place."""
        return self._changed.changed_among(rooms, serial)

    def close(self) -> None:
        """Stop the timers."""
        for typists in self._typing.values():
            for timer in typists.values():
                timer.cancel()
        self._typing.clear()

    def _announce(self, room_id: str) -> None:
        if not self._serial:
            self._first = self._serial = self._clock.now_ms() * 1000
        self._serial += 1
        self._changed.note(room_id, self._serial)
        self._notifier.wake(rooms=(room_id,))
        for listener in self._listeners:
            listener(room_id)
