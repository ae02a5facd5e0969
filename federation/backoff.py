"""Who does not answer is asked less and less often; kept over restarts (B30).

What the sender has for a server waits up to a day; whoever else asks, for a user who wants something now, may try again
after an hour at most. A server that asks us something, or that anybody of us reaches, is there again at once. And when
for a while nobody at all answered, it was probably we who were cut off: with the first answer all of them are tried
anew.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from homeserver.clock import Clock
from homeserver.storage.database import Database, Transaction
from homeserver.storage.destinations import Destination, DestinationStore

FIRST_MS: Final = 10_000
LONGEST_MS: Final = 24 * 3_600_000
LONGEST_FOR_USERS_MS: Final = 3_600_000
FAILURES_MAX: Final = 20
CUT_OFF_MS: Final = 60_000
SPREAD_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Standing:
    """How a server does. `failures` in a row, the first at `failing_since_ts`, the last at `tried_at_ts`; the sender
    asks it again at `retry_at_ts` (milliseconds)."""

    failures: int = 0
    failing_since_ts: int = 0
    tried_at_ts: int = 0
    retry_at_ts: int = 0


_GOOD: Final = Standing()


class Backoff:
    """The standing of each server. Those that fail are in the database; the others need no row."""

    def __init__(self, db: Database, store: DestinationStore, clock: Clock, chance: random.Random) -> None:
        self._db = db
        self._store = store
        self._clock = clock
        self._chance = chance
        self._failing: dict[str, Standing] = {}
        self._answered_at = clock.now_ms()
        self._listeners: list[Callable[[str], None]] = []

    def start(self, known: list[Destination]) -> None:
        """Remember what earlier runs knew."""
        for one in known:
            if one.failures or one.retry_at_ts:
                self._failing[one.server_name] = Standing(
                    one.failures, one.failing_since_ts, one.tried_at_ts, one.retry_at_ts
                )

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call `listener(server_name)` when a server is there again, or is to be tried earlier."""
        self._listeners.append(listener)

    def get(self, server_name: str) -> Standing:
        return self._failing.get(server_name, _GOOD)

    @property
    def failing(self) -> int:
        """How many servers do not answer."""
        return len(self._failing)

    def may_try(self, server_name: str) -> bool:
        """Whether the sender may."""
        return self.get(server_name).retry_at_ts <= self._clock.now_ms()

    def may_ask(self, server_name: str) -> bool:
        """Whether anybody else may."""
        known = self._failing.get(server_name)
        if known is None:
            return True
        return min(known.retry_at_ts, known.tried_at_ts + LONGEST_FOR_USERS_MS) <= self._clock.now_ms()

    async def note_success(self, server_name: str) -> None:
        """It answered."""
        now = self._clock.now_ms()
        silent_since, self._answered_at = self._answered_at, now
        changed: list[str] = []
        if self._failing.pop(server_name, None) is not None:
            changed.append(server_name)
        if self._failing and now - silent_since >= CUT_OFF_MS:
            changed += self._try_anew(silent_since, now)
        if changed:
            await self._write(changed)
            for name in changed:
                for listener in self._listeners:
                    listener(name)

    async def forget(self, server_name: str) -> None:
        """Be as if it had always answered: an operator wants it to be asked now."""
        if self._failing.pop(server_name, None) is not None:
            await self._write([server_name])
            for listener in self._listeners:
                listener(server_name)

    def _try_anew(self, since: int, now: int) -> list[str]:
        """All that failed while nobody answered are asked soon, and not all in one moment."""
        found = [name for name, known in self._failing.items() if known.failing_since_ts >= since]
        for name in found:
            soon = now + int(SPREAD_MS * self._chance.random())
            known = self._failing[name]
            self._failing[name] = replace(known, retry_at_ts=min(known.retry_at_ts, soon))
        return found

    async def note_failure(self, server_name: str) -> None:
        """One more failure; those of one pause count once."""
        known, now = self.get(server_name), self._clock.now_ms()
        if known.retry_at_ts > now:
            return
        failures = min(known.failures + 1, FAILURES_MAX)
        pause = min(FIRST_MS * 2 ** (failures - 1), LONGEST_MS)
        pause = min(int(pause * (0.8 + 0.4 * self._chance.random())), LONGEST_MS)
        self._failing[server_name] = Standing(failures, known.failing_since_ts or now, now, now + pause)
        await self._write([server_name])

    async def note_alive(self, server_name: str) -> bool:
        """It asked us something, so it is there: whether that is news."""
        if server_name not in self._failing:
            return False
        await self.note_success(server_name)
        return True

    async def _write(self, names: list[str]) -> None:
        async def job(txn: Transaction) -> None:
            for name in names:
                known = self.get(name)
                self._store.set_standing(
                    txn, name, known.failures, known.failing_since_ts, known.tried_at_ts, known.retry_at_ts
                )

        await self._db.write(job)
