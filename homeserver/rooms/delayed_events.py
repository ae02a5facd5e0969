"""Events that are sent later, unless somebody sends or cancels them before, or lets them wait anew (MSC4140).

A call that ends because a client vanished is what they are for: the client schedules its leaving and keeps restarting
it. The truth is in the database; memory knows only what is due when. An event is first taken in hand (`SENDING`), then
sent with a transaction key made of its delay id, then done: whatever falls between these steps finds, after a restart,
either the event that was sent or none, and so sends it exactly once.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from homeserver.clock import Clock, Timer
from homeserver.protocol.errors import LimitExceeded, MatrixError, NotFound, NotInRoom, TooLarge, Unavailable, Unknown
from homeserver.rooms.live_room import MEMBER, LiveRooms
from homeserver.rooms.sending import Sending
from homeserver.storage.database import Database, Transaction
from homeserver.storage.delayed_events import DONE, SCHEDULED, SENDING, DelayedEvent, DelayedEventStore
from homeserver.stream import Change, Stream
from homeserver.users.requester import Requester

UNSTABLE: Final = "org.matrix.msc4140"
KEPT_MS: Final = 7 * 24 * 3_600_000
"""How long it is remembered how an event ended."""
KEPT_OF_USER: Final = 100
RETRY_SECONDS: Final = 5.0
MAX_CONTENT_BYTES: Final = 65_536
MAX_TIMER_SECONDS: Final = 3_600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DelayedEventSettings:
    """What an operator may set. `max_delay_ms` 0: no events are delayed here."""

    max_delay_ms: int = 24 * 3_600_000
    max_of_user: int = 100


@dataclass(frozen=True, slots=True)
class EventToDelay:
    """What shall be sent later. `state_key` None: a message; `sticky_ms`: for how long it is sticky, if it is."""

    room_id: str
    type: str
    state_key: str | None
    content: Mapping[str, Any]
    origin_server_ts: int | None = None
    sticky_ms: int | None = None
    transaction_key: str | None = None


class DelayedEvents:
    """Schedules events, and sends them when they are due."""

    def __init__(
        self,
        *,
        db: Database,
        store: DelayedEventStore,
        rooms: LiveRooms,
        sending: Sending,
        stream: Stream,
        clock: Clock,
        settings: DelayedEventSettings,
    ) -> None:
        self.settings = settings
        self._db = db
        self._store = store
        self._rooms = rooms
        self._sending = sending
        self._clock = clock
        self._due: dict[str, int] = {}
        self._queue: list[tuple[int, str]] = []
        self._timer: Timer | None = None
        self._armed_for: int | None = None
        self._state: dict[str, dict[str, DelayedEvent]] = {}
        """room id → delay id → the scheduled state event, which the state of others cancels."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        stream.listen(self._changed)

    # ---- life

    async def start(self) -> None:
        """Take up what was scheduled before this process began."""
        for event in await self._store.list_waiting():
            if event.status == SENDING:
                self._in_background(self._send_in_hand(event, "delay"))
                continue
            self._remember(event)
            if event.state_key is not None:
                await self._cancel_if_overtaken(event)
        self._arm()

    async def close(self) -> None:
        """Stop the timer; what is being sent ends first."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is being sent or cancelled any more."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- what clients do

    async def schedule(self, requester: Requester, event: EventToDelay, delay_ms: int) -> str:
        """Send an event after `delay_ms` milliseconds. Returns its delay id; a repeated transaction gets the first one.

        Raises Unknown with M_MAX_DELAY_EXCEEDED, LimitExceeded when the user has too many, NotInRoom, TooLarge.
        """
        settings = self.settings
        if delay_ms > settings.max_delay_ms:
            raise Unknown(
                f"Events are delayed by at most {settings.max_delay_ms} ms here.",
                **{f"{UNSTABLE}.errcode": "M_MAX_DELAY_EXCEEDED", f"{UNSTABLE}.max_delay": settings.max_delay_ms},
            )
        user_id = requester.user_id
        room = await self._rooms.get(event.room_id)
        if room.membership(user_id) != "join":
            raise NotInRoom()
        content = msgspec.json.encode(event.content)
        if len(content) > MAX_CONTENT_BYTES or len(event.type.encode()) > 255:
            raise TooLarge("The event is larger than an event may be.")
        now = self._clock.now_ms()
        made = DelayedEvent(
            delay_id=f"delay_{secrets.token_urlsafe(18)}",
            user_id=user_id,
            device_id=requester.device_id,
            room_id=event.room_id,
            type=event.type,
            state_key=event.state_key,
            content=content.decode(),
            delay_ms=delay_ms,
            running_since_ms=now,
            due_ms=now + delay_ms,
            origin_server_ts=event.origin_server_ts,
            sticky_ms=event.sticky_ms,
            transaction_key=event.transaction_key,
            scheduled_at=0,
        )

        async def write(txn: Transaction) -> str:
            if event.transaction_key is not None:
                earlier = await self._store.find_by_transaction(user_id, event.room_id, event.transaction_key, txn)
                if earlier is not None:
                    return earlier
            count, next_due = await self._store.count_scheduled(user_id, txn)
            if count >= settings.max_of_user:
                error = LimitExceeded(
                    f"At most {settings.max_of_user} delayed events of one user may wait.",
                    retry_after_ms=max(1, next_due - now),
                )
                error.extra[f"{UNSTABLE}.errcode"] = "M_MAX_DELAYED_EVENTS_EXCEEDED"
                raise error
            stored = replace(made, scheduled_at=txn.next_position())
            await self._store.add_event(txn, stored)
            txn.on_commit(lambda: self._scheduled(stored))
            return made.delay_id

        return await self._db.write(write)

    async def restart(self, delay_id: str) -> None:
        """Let it wait its whole delay anew. Raises NotFound when nothing of this id is waiting."""
        now = self._clock.now_ms()

        async def write(txn: Transaction) -> bool:
            if not await self._store.set_running(txn, delay_id, now):
                return False
            event = await self._store.find_event(delay_id, txn)
            assert event is not None
            txn.on_commit(lambda: self._scheduled(event))
            return True

        if not await self._db.write(write):
            raise _missing()

    async def cancel(self, delay_id: str) -> None:
        """Never send it. Cancelling twice is cancelling once. Raises NotFound."""
        if not await self._finish(delay_id, SCHEDULED, "cancel", "action"):
            await self._check_outcome(delay_id, "cancel")

    async def send(self, delay_id: str) -> None:
        """Send it now. Sending twice is sending once. Raises NotFound, and what sending raises."""
        if not await self._take(delay_id):
            await self._check_outcome(delay_id, "send")
            return
        event = await self._store.find_event(delay_id)
        assert event is not None
        refused = await self._send_in_hand(event, "action")
        if refused is not None:
            raise refused

    async def list_events(
        self, user_id: str, *, status: str | None = None, delay_ids: frozenset[str] = frozenset()
    ) -> dict[str, list[dict[str, Any]]]:
        """What the user has waiting (`scheduled`) and how the last ones ended (`finalised`); only `status`, if given,
        and only these ids."""
        rows = [row for row in await self._store.list_of_user(user_id) if not delay_ids or row.delay_id in delay_ids]
        found: dict[str, list[dict[str, Any]]] = {}
        if status in (None, "scheduled"):
            found["scheduled"] = [_as_json(row) for row in rows if row.status == SCHEDULED]
        if status in (None, "finalised"):
            found["finalised"] = [_ended(row) for row in rows if row.status == DONE]
        return found

    async def forget_user(self, user_id: str) -> None:
        """The account has ended: nothing of it is sent any more, nor kept."""

        async def write(txn: Transaction) -> None:
            removed = await self._store.remove_of_user(txn, user_id)

            def forget() -> None:
                for delay_id, room_id in removed:
                    self._forget(delay_id, room_id)

            txn.on_commit(forget)

        await self._db.write(write)

    # ---- what time does

    def _scheduled(self, event: DelayedEvent) -> None:
        self._remember(event)
        self._arm()

    def _remember(self, event: DelayedEvent) -> None:
        self._due[event.delay_id] = event.due_ms
        heapq.heappush(self._queue, (event.due_ms, event.delay_id))
        if event.state_key is not None:
            self._state.setdefault(event.room_id, {})[event.delay_id] = event

    def _forget(self, delay_id: str, room_id: str) -> None:
        self._due.pop(delay_id, None)
        of_room = self._state.get(room_id)
        if of_room is not None:
            of_room.pop(delay_id, None)
            if not of_room:
                del self._state[room_id]

    def _arm(self) -> None:
        """Have the timer ring when the next event is due."""
        while self._queue and self._due.get(self._queue[0][1]) != self._queue[0][0]:
            heapq.heappop(self._queue)
        due = self._queue[0][0] if self._queue and not self._closed else None
        if due == self._armed_for and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_for = due
        if due is not None:
            # The wall clock may be set anew while the timer runs, so it is looked at again now and then.
            wait = min(max(0.0, (due - self._clock.now_ms()) / 1000), MAX_TIMER_SECONDS)
            self._timer = self._clock.call_later(wait, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._clock.now_ms()
        while self._queue and self._queue[0][0] <= now:
            due, delay_id = heapq.heappop(self._queue)
            if self._due.get(delay_id) == due:
                del self._due[delay_id]
                self._in_background(self._send_due(delay_id))
        self._arm()

    async def _send_due(self, delay_id: str) -> None:
        try:
            if await self._take(delay_id):
                event = await self._store.find_event(delay_id)
                assert event is not None
                await self._send_in_hand(event, "delay")
        except Unavailable:
            self._again(delay_id)

    def _again(self, delay_id: str) -> None:
        """The database was away: look at the event again soon."""
        if not self._closed:
            due = self._clock.now_ms() + int(RETRY_SECONDS * 1000)
            self._due[delay_id] = due
            heapq.heappush(self._queue, (due, delay_id))
            self._arm()

    # ---- one event

    async def _take(self, delay_id: str) -> bool:
        """Take a scheduled event in hand, so that nobody else sends or cancels it."""

        async def write(txn: Transaction) -> bool:
            event = await self._store.find_event(delay_id, txn)
            if event is None or not await self._store.set_sending(txn, delay_id):
                return False
            txn.on_commit(lambda: self._forget(delay_id, event.room_id))
            return True

        return await self._db.write(write)

    async def _send_in_hand(self, event: DelayedEvent, reason: str) -> MatrixError | None:
        """Send what was taken in hand; the refusal, if it was refused. Tried until the database takes it."""
        requester = Requester(event.user_id, event.device_id)
        content: dict[str, Any] = msgspec.json.decode(event.content)
        while True:
            try:
                event_id = await self._sending.send_delayed(
                    requester,
                    event.room_id,
                    event.type,
                    event.state_key,
                    content,
                    delay_id=event.delay_id,
                    origin_server_ts=event.origin_server_ts,
                    sticky_ms=event.sticky_ms,
                )
                await self._finish(event.delay_id, SENDING, "send", reason, event_id=event_id)
                return None
            except Unavailable:
                if self._closed:
                    return None  # taken up by the next start
                await self._clock.sleep(RETRY_SECONDS)
            except MatrixError as refusal:
                error = msgspec.json.encode(refusal.body()).decode()
                await self._finish(event.delay_id, SENDING, "cancel", "error", error=error)
                return refusal

    async def _finish(
        self,
        delay_id: str,
        was: int,
        outcome: str,
        reason: str,
        *,
        error: str | None = None,
        event_id: str | None = None,
    ) -> bool:
        now = self._clock.now_ms()

        async def write(txn: Transaction) -> bool:
            event = await self._store.find_event(delay_id, txn)
            if event is None or not await self._store.set_done(
                txn, delay_id, was, now, outcome, reason, error=error, event_id=event_id
            ):
                return False
            await self._store.remove_done(txn, event.user_id, now - KEPT_MS, KEPT_OF_USER)
            txn.on_commit(lambda: self._forget(delay_id, event.room_id))
            return True

        return await self._db.write(write)

    async def _check_outcome(self, delay_id: str, wanted: str) -> None:
        """Whoever repeats what has happened already is told that it has; anything else is NotFound."""
        event = await self._store.find_event(delay_id)
        if event is None or not (event.outcome == wanted or (event.status == SENDING and wanted == "send")):
            raise _missing()

    # ---- state of others

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is not Change.EVENTS or not self._state or self._closed:
            return
        for room_id in rooms:
            for event in list(self._state.get(room_id, {}).values()):
                if self._is_overtaken(event):
                    self._cancel_overtaken(event)

    def _is_overtaken(self, event: DelayedEvent) -> bool:
        """Whether somebody else has set this state since the event was scheduled, as far as memory knows."""
        room = self._rooms.peek(event.room_id)
        if room is None or event.state_key is None:
            return False
        if event.type == MEMBER:
            current = room.member_events.get(event.state_key)
        else:
            current = room.state_event(event.type, event.state_key)
        return current is not None and current.position > event.scheduled_at and current.event.sender != event.user_id

    async def _cancel_if_overtaken(self, event: DelayedEvent) -> None:
        room = await self._rooms.find(event.room_id)
        if room is not None and event.type == MEMBER and event.state_key is not None:
            await self._rooms.member_event(room, event.state_key)
        if self._is_overtaken(event):
            self._cancel_overtaken(event)

    def _cancel_overtaken(self, event: DelayedEvent) -> None:
        self._forget(event.delay_id, event.room_id)
        self._in_background(self._finish_overtaken(event.delay_id))

    async def _finish_overtaken(self, delay_id: str) -> None:
        await self._finish(delay_id, SCHEDULED, "cancel", "action")

    def _in_background(self, work: Any) -> None:
        async def run() -> None:
            try:
                await work
            except Unavailable as error:
                _log.warning("a delayed event waits for the database: %s", error)
            except Exception:
                _log.exception("a delayed event could not be dealt with")

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _missing() -> NotFound:
    return NotFound("No delayed event of this id is waiting.")


def _as_json(event: DelayedEvent) -> dict[str, Any]:
    body: dict[str, Any] = {
        "delay_id": event.delay_id,
        "room_id": event.room_id,
        "type": event.type,
        "delay": event.delay_ms,
        "running_since": event.running_since_ms,
        "content": msgspec.Raw(event.content.encode()),
    }
    if event.state_key is not None:
        body["state_key"] = event.state_key
    return body


def _ended(event: DelayedEvent) -> dict[str, Any]:
    body: dict[str, Any] = {
        "delayed_event": _as_json(event),
        "outcome": event.outcome,
        "reason": event.reason,
        "origin_server_ts": event.done_ms,
    }
    if event.error is not None:
        body["error"] = msgspec.Raw(event.error.encode())
    if event.event_id is not None:
        body["event_id"] = event.event_id
    return body
