"""Bringing what waits to each pusher: one after another, again after a failure, and for a day at most.

Each pusher that something waits for has a task, or a timer while it has to wait. What was delivered is removed in one
transaction with how the pusher fares, so that a restart goes on where this process was; what a crash cuts off between
the answer and that COMMIT is sent once more under the same event ID, by which gateways and clients know it. Each
gateway is told of a few notifications at a time, so that one that hangs does not keep the others waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from homeserver.clock import Clock, Timer
from homeserver.protocol.errors import Unavailable
from homeserver.push.pushers import KnownPushers
from homeserver.push.recipients import Recipients
from homeserver.storage.database import Database, Transaction
from homeserver.storage.push_queue import PusherKey, PushProgress, PushQueue, QueuedPush
from homeserver.storage.pushers import Pusher
from homeserver.users.pushers import EMAIL, HTTP, Pushers

GIVE_UP_MS: Final = 24 * 60 * 60 * 1000
"""Spec: "the homeserver SHOULD retry for a reasonable amount of time using exponential backoff"."""
KEPT: Final = 500
"""The newest that wait for one pusher that does not answer."""
READ: Final = 100
LOOK_AT_ONCE: Final = 10
"""Pushers whose rows are looked up at a time: what many tasks ask of the database, others wait for."""
FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 3600.0
TOLD_AFTER: Final = 4
"""Failures in a row after which the log tells of a pusher, once."""
DATABASE_RETRY_SECONDS: Final = 5.0

_log = logging.getLogger("homeserver.push")


@dataclass(frozen=True, slots=True)
class Delivered:
    """These positions are done with; `was_sent`: something went out; `badge`: the number that the pusher knows now;
    `pause_ms`: the pause that its e-mails have come to."""

    positions: tuple[int, ...]
    was_sent: bool = True
    badge: int | None = None
    pause_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing is due before `ts` (milliseconds)."""

    ts: int


@dataclass(frozen=True, slots=True)
class Failed:
    """It was not taken. `reason` is for the log; `retry_after` in seconds, if the other side said when to come back."""

    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The pusher is to be removed."""

    reason: str


Outcome = Delivered | Later | Failed | Rejected


class Channel(Protocol):
    """One kind of pusher."""

    async def deliver(self, pusher: Pusher, waiting: list[QueuedPush], progress: PushProgress) -> Outcome:
        """Do what is next. `waiting` is not empty, the oldest first, at most READ of them."""
        ...


class Deliveries:
    """The tasks. `channels` by the pushers' kind."""

    def __init__(
        self,
        *,
        db: Database,
        queue: PushQueue,
        known: KnownPushers,
        pushers: Pushers,
        recipients: Recipients,
        channels: Mapping[str, Channel],
        clock: Clock,
    ) -> None:
        self._db = db
        self._queue = queue
        self._known = known
        self._pushers = pushers
        self._recipients = recipients
        self._channels = channels
        self._clock = clock
        self._tasks: dict[PusherKey, asyncio.Task[None]] = {}
        self._more: set[PusherKey] = set()
        self._timers: dict[PusherKey, Timer] = {}
        self._runs = False
        self._looking = asyncio.Semaphore(LOOK_AT_ONCE)
        self.outcomes: Counter[str] = Counter()

    @property
    def busy(self) -> int:
        """How many pushers something waits for."""
        return len(self._tasks) + len(self._timers)

    def start(self) -> None:
        self._runs = True

    async def stop(self) -> None:
        self._runs = False
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    def wake(self, key: PusherKey) -> None:
        """Something waits for this pusher."""
        if not self._runs or key in self._timers:
            return
        if key in self._tasks:
            self._more.add(key)
            return
        task = asyncio.create_task(self._run(key), name="push delivery")
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._ended(key, done))

    def nudge(self, user_id: str) -> None:
        """The user's pushers were changed: those that wait for their next try look again."""
        for key in [key for key in self._timers if key.user_id == user_id]:
            self._timers.pop(key).cancel()
            self.wake(key)

    def _ended(self, key: PusherKey, task: asyncio.Task[None]) -> None:
        self._tasks.pop(key, None)
        if key in self._more:
            self._more.discard(key)
            self.wake(key)

    async def _run(self, key: PusherKey) -> None:
        while True:
            self._more.discard(key)
            try:
                while await self._next(key):
                    pass
                return
            except Unavailable as error:
                _log.warning("a delivery waits for the database: %s", error)
            except Exception:
                _log.exception("a delivery failed; it is tried again in %.0f s", DATABASE_RETRY_SECONDS)
            await self._clock.sleep(DATABASE_RETRY_SECONDS)

    async def _next(self, key: PusherKey) -> bool:
        """One step; False when nothing is to be done now."""
        pusher = self._known.find(key)
        if pusher is None:
            await self._db.write(lambda txn: self._queue.remove_all_pushes(txn, key))
            return False
        async with self._looking:
            waiting = await self._queue.list_pushes(key, READ)
            may_receive = bool(waiting) and await self._recipients.may_receive(pusher)
            progress = await self._queue.find_progress(key)
        if not waiting:
            return False
        now = self._clock.now_ms()
        if pusher.kind == HTTP and waiting[0].queued_ts <= now - GIVE_UP_MS:
            await self._trim(key)
            return True
        if pusher.kind == EMAIL and len(waiting) == READ:  # an e-mail tells of the newest, and of all in one
            await self._db.write(lambda txn: self._queue.trim(txn, key, before_ts=0, newest=READ - 1))
            return True
        if not may_receive:
            self.outcomes["suppressed"] += len(waiting)
            await self._db.write(lambda txn: self._queue.remove_all_pushes(txn, key))
            return False
        if progress.failures and progress.next_try_ts > now:
            self._wake_at(key, progress.next_try_ts)
            return False
        outcome = await self._deliver(pusher, waiting, progress)
        match outcome:
            case Delivered():
                await self._note_delivered(key, outcome, progress)
            case Later():
                self._wake_at(key, outcome.ts)
                return False
            case Failed():
                await self._note_failure(key, outcome, progress)
            case Rejected():
                self.outcomes["rejected"] += 1
                _log.info("a pusher of %s for %s is removed: %s", key.user_id, key.app_id, outcome.reason)
                await self._pushers.remove_rejected(*key)
                return False
        return True

    async def _deliver(self, pusher: Pusher, waiting: list[QueuedPush], progress: PushProgress) -> Outcome:
        try:
            return await self._channels[pusher.kind].deliver(pusher, waiting, progress)
        except Unavailable:
            raise
        except Exception:  # whatever it is, it is tried again for a day and not for ever
            _log.exception("a notification for %s could not be made", pusher.app_id)
            return Failed("an error of this server")

    async def _note_delivered(self, key: PusherKey, outcome: Delivered, before: PushProgress) -> None:
        self.outcomes["delivered" if outcome.was_sent else "skipped"] += 1
        after = PushProgress(
            badge=before.badge if outcome.badge is None else outcome.badge,
            sent_ts=self._clock.now_ms() if outcome.was_sent and outcome.pause_ms is not None else before.sent_ts,
            pause_ms=before.pause_ms if outcome.pause_ms is None else outcome.pause_ms,
        )

        async def job(txn: Transaction) -> None:
            await self._queue.remove_pushes(txn, key, outcome.positions)
            if after != before:
                await self._queue.set_progress(txn, key, after)

        await self._db.write(job)

    async def _note_failure(self, key: PusherKey, outcome: Failed, before: PushProgress) -> None:
        self.outcomes["failed"] += 1
        delay = min(FIRST_RETRY_SECONDS * 2.0 ** min(before.failures, 20), LAST_RETRY_SECONDS)
        if outcome.retry_after is not None:
            delay = min(max(delay, outcome.retry_after), LAST_RETRY_SECONDS)
        now = self._clock.now_ms()
        after = replace(before, failures=before.failures + 1, next_try_ts=now + round(delay * 1000))
        level = logging.INFO if after.failures == TOLD_AFTER else logging.DEBUG
        _log.log(level, "push for %s failed (%s); trying again in %.0f s", key.app_id, outcome.reason, delay)

        async def job(txn: Transaction) -> None:
            await self._queue.set_progress(txn, key, after)

        await self._db.write(job)
        await self._trim(key)

    async def _trim(self, key: PusherKey) -> None:
        """Give up what waits for more than a day, or is too much."""
        before = self._clock.now_ms() - GIVE_UP_MS + 1
        dropped = await self._db.write(lambda txn: self._queue.trim(txn, key, before_ts=before, newest=KEPT))
        if dropped:
            self.outcomes["given_up"] += dropped
            _log.warning("gave up %d notifications for a pusher of %s", dropped, key.user_id)

    def _wake_at(self, key: PusherKey, ts: int) -> None:
        def wake() -> None:
            self._timers.pop(key, None)
            self.wake(key)

        if self._runs:
            delay = max(ts - self._clock.now_ms(), 0) / 1000
            self._timers[key] = self._clock.call_later(delay, wake)
