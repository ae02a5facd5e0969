"""Long polls: look, and where there is nothing new wait at the notifier and look again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Final, TypeVar

from homeserver.clock import Clock
from homeserver.notifier import Notifier
from homeserver.users.presence import Presence, State
from homeserver.users.requester import Requester

T = TypeVar("T")

MAX_WAIT_SECONDS: Final = 120.0
MAX_POLLS: Final = 8
"""How many polls of one device wait at the same time: another one ends the oldest (row D15 of the known attacks)."""


class _Poll:
    """One that waits. `is_old`: newer ones of the same device have taken its place."""

    __slots__ = ("is_old", "waiter")

    def __init__(self) -> None:
        self.is_old = False
        self.waiter: asyncio.Future[None] | None = None

    def end(self) -> None:
        """Let it answer with what it has."""
        self.is_old = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class LongPolls:
    """What every kind of sync waits by."""

    def __init__(self, notifier: Notifier, clock: Clock, presence: Presence) -> None:
        self._notifier = notifier
        self._clock = clock
        self._presence = presence
        self._polls: dict[tuple[str, str | None], list[_Poll]] = {}

    async def wait(
        self,
        requester: Requester,
        timeout_ms: int,
        look: Callable[[], Awaitable[tuple[T, bool]]],
        *,
        is_counted: bool = True,
    ) -> T:
        """The first result of `look` that it calls news, or the last one when the time is up, when the server stops or
        when the same device polls too often at once (for those that are counted)."""
        deadline = self._clock.monotonic() + min(timeout_ms / 1000, MAX_WAIT_SECONDS)
        with self._counted(requester) if is_counted else nullcontext(_Poll()) as poll:
            while True:
                poll.waiter = waiter = self._notifier.expect(requester.user_id)
                try:
                    found, is_news = await look()
                    remaining = deadline - self._clock.monotonic()
                    if is_news or poll.is_old or remaining <= 0:
                        return found
                    if not await self._notifier.wait_for(waiter, remaining):
                        return found
                finally:
                    waiter.cancel()

    @contextmanager
    def _counted(self, requester: Requester) -> Iterator[_Poll]:
        key, poll = (requester.user_id, requester.device_id), _Poll()
        polls = self._polls.setdefault(key, [])
        polls.append(poll)
        if len(polls) > MAX_POLLS:
            polls.pop(0).end()
        try:
            yield poll
        finally:
            if not poll.is_old:
                polls.remove(poll)
            if not polls and self._polls.get(key) is polls:
                del self._polls[key]

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
