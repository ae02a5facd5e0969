"""The one stream of changes, as this process knows it: who or what changed last at which position.

Every durable change takes its position inside the transaction that writes it and is announced from that transaction's
`on_commit`. Readers ask `changed_since` before they ask the database, and wait at the notifier for the next change.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable
from typing import Protocol


class Change(enum.IntEnum):  # whose hash, unlike that of other enums, is not worked out in Python
    """Kinds of change, each with its own memory of who changed when."""

    EVENTS = enum.auto()  # rooms: an event was stored
    RECEIPTS = enum.auto()  # rooms
    TYPING = enum.auto()  # rooms; not durable, positions are those of the moment
    MEMBERSHIP = enum.auto()  # users: an own membership changed
    ACCOUNT_DATA = enum.auto()  # users: global and per room, tags, push rules
    TO_DEVICE = enum.auto()  # users
    DEVICE_LISTS = enum.auto()  # users whose devices or keys changed
    PRESENCE = enum.auto()  # users whose presence changed
    PRIVATE_RECEIPTS = enum.auto()  # users
    THREAD_SUBSCRIPTIONS = enum.auto()  # users


class Announcer(Protocol):
    """What a service needs in order to tell readers of its change."""

    def announce(
        self, kind: Change, position: int, *, rooms: Iterable[str] = (), users: Iterable[str] = ()
    ) -> None: ...


class ChangeMemory:
    """The last position at which each key changed. Bounded: what was forgotten counts as changed at `floor`."""

    def __init__(self, floor: int, limit: int = 100_000) -> None:
        self._floor = floor
        self._limit = limit
        self._last: dict[str, int] = {}

    def note(self, key: str, position: int) -> None:
        """`key` changed at `position`; positions never decrease."""
        self._last.pop(key, None)
        self._last[key] = position
        if len(self._last) > self._limit:
            oldest = next(iter(self._last))
            self._floor = max(self._floor, self._last.pop(oldest))

    def changed_since(self, key: str, position: int) -> bool:
        """Whether `key` may have changed after `position` (never a false no)."""
        return self._last.get(key, self._floor) > position

    def changed_among(self, keys: Collection[str], position: int) -> list[str]:
        """Those of `keys` for which `changed_since` is true."""
        if position >= self._floor:
            found: list[str] = []
            for key in reversed(self._last):  # the newest change is the last
                if self._last[key] <= position:
                    return [key for key in found if key in keys]
                if len(found) == len(keys):
                    break
                found.append(key)
            else:
                return [key for key in found if key in keys]
        return [key for key in keys if self.changed_since(key, position)]

    def forget_all(self, position: int) -> None:
        """Somebody else wrote: everything may have changed up to `position`."""
        self._last.clear()
        self._floor = max(self._floor, position)


Listener = Callable[[Change, int, tuple[str, ...], tuple[str, ...]], None]


class Stream:
    """Announcements in, memory of the last changes and listeners out."""

    def __init__(self, position: int) -> None:
        self._position = position
        self._memories = {kind: ChangeMemory(position) for kind in Change}
        self._listeners: list[Listener] = []
        self._newest = dict.fromkeys(Change, position)

    @property
    def position(self) -> int:
        """The newest announced position."""
        return self._position

    def listen(self, listener: Listener) -> None:
        """Call `listener(kind, position, rooms, users)` at every announcement, synchronously."""
        self._listeners.append(listener)

    def announce(self, kind: Change, position: int, *, rooms: Iterable[str] = (), users: Iterable[str] = ()) -> None:
        """A change of `kind` was committed at `position` (call from the transaction's `on_commit`)."""
        rooms, users = tuple(rooms), tuple(users)
        self._position = max(self._position, position)
        self._newest[kind] = max(self._newest[kind], position)
        memory = self._memories[kind]
        for key in rooms:
            memory.note(key, position)
        for key in users:
            memory.note(key, position)
        for listener in self._listeners:
            listener(kind, position, rooms, users)

    def changed_since(self, kind: Change, key: str, position: int) -> bool:
        """Whether `key` (a room or a user) may have seen a change of `kind` after `position`."""
        return self._newest[kind] > position and self._memories[kind].changed_since(key, position)

    def changed_among(self, kind: Change, keys: Collection[str], position: int) -> list[str]:
        """Those of `keys` that may have seen a change of `kind` after `position`. Costs as much as the fewer of the
        two: the keys, and the changes."""
        return self._memories[kind].changed_among(keys, position) if self._newest[kind] > position else []

    def any_since(self, kind: Change, position: int) -> bool:
        """Whether anything of this kind may have changed after `position`."""
        return self._newest[kind] > position

    def foreign_position(self, position: int) -> None:
        """Another process moved the stream to `position`; nothing remembered before it counts."""
        self._position = max(self._position, position)
        for kind, memory in self._memories.items():
            memory.forget_all(position)
            self._newest[kind] = max(self._newest[kind], position)
