"""Long polls: look, and where there is nothing new wait at the notifier and look again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from homeserver.clock import Clock
from homeserver.notifier import Notifier
from homeserver.users.presence import Presence, State
from homeserver.users.requester import Requester

T = TypeVar("T")

MAX_WAIT_SECONDS: Final = 120.0


class LongPolls:
    """What every kind of sync waits by."""

    def __init__(self, notifier: Notifier, clock: Clock, presence: Presence) -> None:
        self._notifier = notifier
        self._clock = clock
        self._presence = presence

    async def wait(self, user_id: str, timeout_ms: int, look: Callable[[], Awaitable[tuple[T, bool]]]) -> T:
        """The first result of `look` that it calls news, or the last one when the time is up or the server stops."""
        deadline = self._clock.monotonic() + min(timeout_ms / 1000, MAX_WAIT_SECONDS)
        while True:
            waiter = self._notifier.expect(user_id)
            try:
                found, is_news = await look()
                remaining = deadline - self._clock.monotonic()
                if is_news or remaining <= 0:
                    return found
                if not await self._notifier.wait_for(waiter, remaining):
                    return found
            finally:
                waiter.cancel()

    @asynccontextmanager
    async def present(self, requester: Requester, state: State) -> AsyncIterator[None]:
        """The device is there meanwhile, as `set_presence` says."""
        user_id, device_id = requester.user_id, requester.device_id
        if device_id is None:
            yield
            return
        await self._presence.sync_begins(user_id, device_id, state)
        try:
            yield
        finally:
            self._presence.sync_ends(user_id, device_id, state)
