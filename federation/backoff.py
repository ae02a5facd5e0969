"""Who does not answer is asked less and less often, up to once an hour; kept over restarts (B30)."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

from homeserver.clock import Clock
from homeserver.storage.database import Database
from homeserver.storage.destinations import Destination, DestinationStore

FIRST_MS: Final = 10_000
LONGEST_MS: Final = 3_600_000


class Backoff:
    """The destinations, with how they are doing."""

    def __init__(self, db: Database, store: DestinationStore, clock: Clock, chance: random.Random) -> None:
        self._db = db
        self._store = store
        self._clock = clock
        self._chance = chance
        self._known: dict[str, Destination] = {}

    async def start(self) -> None:
        """Remember what earlier runs knew."""
        for destination in await self._store.list_destinations():
            self._known[destination.server_name] = destination

    def get(self, server_name: str) -> Destination:
        return self._known.get(server_name) or Destination(server_name)

    def known(self) -> list[Destination]:
        return list(self._known.values())

    def may_ask(self, server_name: str) -> bool:
        return self.get(server_name).retry_at_ts <= self._clock.now_ms()

    def keep(self, destination: Destination) -> None:
        """What is known of a destination from now on, in memory."""
        self._known[destination.server_name] = destination

    async def note_success(self, server_name: str) -> None:
        known = self.get(server_name)
        if known.failures or known.retry_at_ts:
            await self._write(replace(known, failures=0, retry_at_ts=0))

    async def note_failure(self, server_name: str) -> None:
        """One more failure; those of one pause count once."""
        known, now = self.get(server_name), self._clock.now_ms()
        if known.retry_at_ts > now:
            return
        failures = min(known.failures + 1, 20)
        pause = min(FIRST_MS * 2 ** (failures - 1), LONGEST_MS)
        pause = int(pause * (0.8 + 0.4 * self._chance.random()))
        await self._write(replace(known, failures=failures, retry_at_ts=now + min(pause, LONGEST_MS)))

    async def note_alive(self, server_name: str) -> bool:
        """It asked us something, so it is there: whether that is news."""
        if self.get(server_name).retry_at_ts <= self._clock.now_ms():
            return False
        await self.note_success(server_name)
        return True

    async def _write(self, destination: Destination) -> None:
        self.keep(destination)

        async def job(txn: object) -> None:
            self._store.set_destination(txn, self.get(destination.server_name))  # type: ignore[arg-type]

        await self._db.write(job)
