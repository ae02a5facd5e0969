"""Joins that another server has perhaps granted already, while its answer is on the way.

From that moment on others send what happens in the room, and what comes before the answer would fall, for the room is
not known here yet. It waits until the join has ended, or is to be sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from homeserver.clock import Clock
from homeserver.protocol.errors import Unavailable

WAIT_SECONDS: Final = 20.0


class JoinsUnderWay:
    """The rooms that are being joined, at most once each at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiters: dict[str, tuple[float, list[asyncio.Future[bool]]]] = {}

    @contextmanager
    def joining(self, room_id: str) -> Iterator[None]:
        """The room is being joined meanwhile."""
        waiters: list[asyncio.Future[bool]] = []
        self._waiters[room_id] = (self._clock.monotonic() + WAIT_SECONDS, waiters)
        try:
            yield
        finally:
            del self._waiters[room_id]
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(True)

    async def has_ended(self, room_id: str) -> bool:
        """Whether the room was being joined and is no more, so that it may be known now. Raises Unavailable when the
        join takes longer than WAIT_SECONDS from its beginning."""
        under_way = self._waiters.get(room_id)
        if under_way is None:
            return False
        deadline, waiters = under_way
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiters.append(waiter)

        def expire() -> None:
            if not waiter.done():
                waiter.set_result(False)

        timer = self._clock.call_later(max(0.0, deadline - self._clock.monotonic()), expire)
        try:
            if not await waiter:
                raise Unavailable("The room is being joined just now")
        finally:
            timer.cancel()
        return True
