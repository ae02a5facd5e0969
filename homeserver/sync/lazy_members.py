"""Which member events a device has been sent already, so that lazily loading clients are not sent them again.

Kept in memory only: after a restart a client may get a member event twice, which the spec allows.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

DEVICES: Final = 5_000
MEMBERS: Final = 5_000


class LazyMembers:
    """Member events by device and room."""

    def __init__(self) -> None:
        self._sent: OrderedDict[tuple[str, str | None], dict[str, dict[str, tuple[str, int]]]] = OrderedDict()

    def is_sent(self, device: tuple[str, str | None], room_id: str, user_id: str, event_id: str, since: int) -> bool:
        """Whether this very member event was in an answer that the device has, for it came back with `since`."""
        sent = self._sent.get(device, {}).get(room_id, {}).get(user_id)
        return sent is not None and sent[0] == event_id and sent[1] <= since

    def note_sent(self, device: tuple[str, str | None], room_id: str, user_id: str, event_id: str, now: int) -> None:
        """The member event is part of the answer whose next token stands for `now`."""
        rooms = self._sent.setdefault(device, {})
        self._sent.move_to_end(device)
        members = rooms.setdefault(room_id, {})
        before = members.get(user_id)
        members[user_id] = (event_id, now if before is None or before[0] != event_id else min(before[1], now))
        if len(members) > MEMBERS:
            del members[next(iter(members))]
        if len(self._sent) > DEVICES:
            self._sent.popitem(last=False)

    def forget(self, device: tuple[str, str | None]) -> None:
        """The device begins anew, with an initial sync."""
        self._sent.pop(device, None)
