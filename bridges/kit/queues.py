"""A queue per chat: what belongs to one chat is done in order, one after the other; chats do not wait for each other.

The rows are in the store; this only decides who works when. `handle(key)` does the next row of `key` and answers
whether there was one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bridges.kit.clock import Clock
from bridges.kit.store import StoreUnavailable

STORE_PAUSE = 5.0
"""Seconds between two attempts while our own database cannot be written."""

log = logging.getLogger(__name__)


class ChatQueues:
    """One worker task per key, alive only while there is work."""

    def __init__(self, handle: Callable[[str], Awaitable[bool]], name: str, clock: Clock) -> None:
        self._handle = handle
        self._clock = clock
        self._name = name
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._woken: set[str] = set()
        self._working = False

    def begin(self) -> None:
        """Start working; what was woken before waited for this."""
        self._working = True
        for key in list(self._woken):
            self.wake(key)

    def wake(self, key: str) -> None:
        """There may be a row for `key`."""
        self._woken.add(key)
        if self._working and key not in self._workers:
            self._workers[key] = asyncio.get_running_loop().create_task(self._work(key), name=f"{self._name} {key}")

    async def _work(self, key: str) -> None:
        try:
            while key in self._woken:
                self._woken.discard(key)
                while await self._next(key):
                    pass
        except Exception:
            # handle() deals with every failure that it expects; the rows stay pending for the next start.
            log.exception("the %s queue of %r stopped at an unexpected error", self._name, key)
        finally:
            self._workers.pop(key, None)

    async def _next(self, key: str) -> bool:
        """One row. A full disk of our own is nobody else's failure: the row waits until it is over."""
        while True:
            try:
                return await self._handle(key)
            except StoreUnavailable as error:
                log.error("the %s queue of %r waits: %s", self._name, key, error)
                await self._clock.sleep(STORE_PAUSE)

    @property
    def idle(self) -> bool:
        return not self._workers

    async def drained(self) -> None:
        """Wait until nobody works (for tests and orderly ends)."""
        while self._workers:
            await asyncio.wait(list(self._workers.values()))

    async def stop(self) -> None:
        """Stop in the middle of whatever goes on; what was not finished stays pending."""
        self._working = False
        workers = list(self._workers.values())
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
