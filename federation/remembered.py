"""What others told, kept in memory as long as there is room: what was told longest ago goes first.

Strangers decide how much there is of it and how big each is, so both are bounded.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Values by key, of at most `max_bytes` together."""

    def __init__(self, max_bytes: int, max_entries: int) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._kept: dict[Key, tuple[Value, int]] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: Key) -> Value | None:
        found = self._kept.get(key)
        return None if found is None else found[0]

    def keep(self, key: Key, value: Value, size: int) -> None:
        """`size`: about how many bytes it is. What is too big by itself is not kept, and drives out nothing."""
        self.forget(key)
        if size > self._max_bytes:
            return
        self._kept[key] = (value, size)
        self.size += size
        while self._kept and (self.size > self._max_bytes or len(self._kept) > self._max_entries):
            self.forget(next(iter(self._kept)))

    def forget(self, key: Key) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self.size -= found[1]
