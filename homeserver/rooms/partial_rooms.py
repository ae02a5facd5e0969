"""Which rooms are here in part only, in memory: whoever needs a whole room asks, or waits, here.

A room that was joined elsewhere is shown as soon as its name, rules and newest events are here; its members follow
(`federation/partial_state.py`). Until then `LiveRoom.partial` says so.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right, insort
from typing import Final

from homeserver.clock import Clock
from homeserver.protocol.errors import Unavailable
from homeserver.storage.partial_state import PartialState, PartialStateStore

WAIT_SECONDS: Final = 45.0
"""So long a request waits for the rest of a room. Clients give up after a minute or so."""


class PartialRooms:
    """The rooms that are not whole, and since when the others are."""

    def __init__(self, store: PartialStateStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._partial: dict[str, PartialState] = {}
        self._whole_at: dict[str, int] = {}
        self._whole_in_order: list[tuple[int, str]] = []
        self._awaited: dict[str, asyncio.Event] = {}

    def __len__(self) -> int:
        return len(self._partial)

    async def load(self) -> None:
        """Begin with what is stored."""
        self._partial.clear()
        self._whole_at.clear()
        self._whole_in_order.clear()
        for state in await self._store.list_all():
            self.note(state)

    def find(self, room_id: str) -> PartialState | None:
        """How the room was joined, if the rest of its state is still awaited."""
        return self._partial.get(room_id)

    def list_partial(self) -> list[PartialState]:
        """The rooms that are not whole."""
        return list(self._partial.values())

    def whole_at(self, room_id: str) -> int:
        """The position at which the rest of the room's state came; 0 where all was here from the beginning."""
        return self._whole_at.get(room_id, 0)

    def made_whole(self, after: int, up_to: int) -> list[str]:
        """The rooms that became whole in after < position <= up_to."""
        found = self._whole_in_order[bisect_right(self._whole_in_order, (after, "\U0010ffff")) :]
        return [room_id for position, room_id in found if position <= up_to]

    def note(self, state: PartialState) -> None:
        """The room is so now; call it when that is committed."""
        self.forget(state.room_id)
        if state.whole_at is None:
            self._partial[state.room_id] = state
            return
        self._whole_at[state.room_id] = state.whole_at
        insort(self._whole_in_order, (state.whole_at, state.room_id))
        self._wake(state.room_id)

    def forget(self, room_id: str) -> None:
        """The room is whole, and was from the beginning (of this stay); or it is gone."""
        self._partial.pop(room_id, None)
        before = self._whole_at.pop(room_id, None)
        if before is not None:
            self._whole_in_order.remove((before, room_id))
        self._wake(room_id)

    def _wake(self, room_id: str) -> None:
        awaited = self._awaited.pop(room_id, None)
        if awaited is not None:
            awaited.set()

    async def wait(self, room_id: str, seconds: float = WAIT_SECONDS) -> None:
        """Return when the room is whole. Raises Unavailable when that takes longer than `seconds`."""
        if room_id not in self._partial:
            return
        awaited = self._awaited.setdefault(room_id, asyncio.Event())
        coming = asyncio.ensure_future(awaited.wait())
        limit = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({coming, limit}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            coming.cancel()
            limit.cancel()
        if room_id in self._partial:
            raise Unavailable("The members of this room are still on their way from another server; try again")
