"""Sends what happens here to the other servers of each room: a queue for each, so that none waits for another (B30).

What is to be sent is found in the stream, never in the request that made it. While a server keeps up, its queue is in
memory, and it costs no row: one stored place says how far everybody was told. A server that does not answer, or not
fast enough, is *behind*: its queue is dropped, a row says since when, and it is caught up with when it is there again
(`catching_up.py`). How often it is tried is the affair of `backoff.py`, and how many servers are asked at a time that
of `turns.py`. So a thousand dead servers cost a row each, and no task, no socket and no memory that grows.

The stored place is written some seconds later than it moves. After a crash the events of those seconds are sent again,
which others recognise; none is lost.

Typing, receipts and presence are told if that is possible at once, and only as they are by then. Messages between
devices wait in the database until they are taken.

Spec: Server-Server API, "Transactions", "EDUs".
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import secrets
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from federation.audiences import Audiences
from federation.backoff import Backoff
from federation.catching_up import CatchingUp
from federation.client import TIMEOUT_SECONDS, FederationClient, RemoteFailed, RemoteRefused, encoded
from federation.turns import Lane, Turns
from homeserver.clock import Clock, Timer
from homeserver.metrics import Metrics
from homeserver.protocol.errors import Unavailable
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import domain_of
from homeserver.rooms.live_room import RING, LiveRoom
from homeserver.rooms.services import RoomServices
from homeserver.rooms.visibility import DUMMY
from homeserver.storage.database import Database, Transaction
from homeserver.storage.destinations import DestinationStore
from homeserver.storage.events import StoredEvent
from homeserver.stream import Change, Stream

PDUS_MAX: Final = 50
EDUS_MAX: Final = 100
QUEUE_MAX: Final = 1_000
LAST_WORDS_MAX: Final = 10_000
"""Beyond so many waiting events a destination is caught up with instead."""
KEYED_EDUS_MAX: Final = 1_000
REPLAY_MAX: Final = 1_000
"""After a crash up to so many events are sent again one by one; beyond it everybody is caught up with."""
FIRST_TIMEOUT_SECONDS: Final = 20.0
"""Whoever was never sent anything has this time, so that many dead servers of a room just joined are soon known."""
FLUSH_SECONDS: Final = 5.0
QUIET_FLUSH_SECONDS: Final = 60.0
"""When nothing of what happened was for others."""
AGAIN_MS: Final = 1_000
ASKED_AT_ONCE: Final = 100
PLACE: Final = "events"
TOO_MUCH: Final = (400, 413)
"""What a server, or a proxy before it, answers to a transaction that it will never take."""

_log = logging.getLogger("federation.sender")


@dataclass(slots=True)
class _Queue:
    """What waits in memory for one destination. `edus`: by what they are about, so that only the newest is told."""

    events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    edus: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class SenderCounts:
    """For the metrics."""

    transactions: int = 0
    failed: int = 0
    events: int = 0
    edus: int = 0


class FederationSender:
    """The queues."""

    def __init__(
        self,
        *,
        db: Database,
        store: DestinationStore,
        client: FederationClient,
        backoff: Backoff,
        rooms: RoomServices,
        audiences: Audiences,
        catching_up: CatchingUp,
        stream: Stream,
        clock: Clock,
        own_name: str,
    ) -> None:
        self._db = db
        self._store = store
        self._client = client
        self._backoff = backoff
        self._rooms = rooms
        self._audiences = audiences
        self._catching_up = catching_up
        self._stream = stream
        self._clock = clock
        self._own_name = own_name
        self._queues: dict[str, _Queue] = {}
        # Whoever is behind, and since which position; what was passed over last for them; those of them to whom the
        # last part of what they missed is on its way. Whoever was told something, and up to where.
        self._behind: dict[str, int] = {}
        self._skipped: dict[str, int] = {}
        self._ending: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._batches: dict[str, int] = {}
        self._with_stored_edus: set[str] = set()
        self._fresh: deque[str] = deque()
        self._is_asking = False
        self._turns = Turns(clock, self._lane_of, self._begin)
        self._tasks: set[asyncio.Task[None]] = set()
        self._retries: list[tuple[int, str]] = []
        self._retry_timer: tuple[int, Timer] | None = None
        self._place = 0
        # What the next flush writes.
        self._newest: dict[str, int] = {}
        self._unwritten: set[str] = set()
        self._written_as_behind: set[str] = set()
        self._farewells: list[tuple[str, str, int]] = []
        self._last_words: dict[int, None] = {}
        self._flush_timer: tuple[float, Timer] | None = None
        self._flushing = asyncio.Lock()
        # Ids that were never used, also not before a crash or with another clock: receivers answer one that they know
        # without looking.
        self._run_id = secrets.token_urlsafe(9)
        self._transactions = 0
        self._stopped = False
        self.counts = SenderCounts()

    async def start(self) -> None:
        """Follow the stream from where the last run was, and catch up with those that are behind."""
        known = await self._store.list_destinations()
        place = await self._store.find_place(PLACE)
        self._backoff.listen(self.wake)
        self._with_stored_edus.update(await self._store.list_waiting_destinations())
        for one in known:
            if one.is_behind:
                self._behind[one.server_name] = one.sent_position
                self._written_as_behind.add(one.server_name)
            self._told[one.server_name] = one.sent_position if one.is_behind else max(one.sent_position, place or 0)
        self._place = self._db.position
        self._stream.listen(self._changed)
        if place is None:
            since = min((one.sent_position for one in known), default=None)
            if since is not None:  # a database from before there was this place
                await self._db.write(lambda txn: self._store.note_own_events(txn, self._own_name, since))
            with contextlib.suppress(Unavailable):  # from here on the next run replays, however soon this one ends
                await self._db.write(self._begin_place)
        elif place < self._place:
            await self._replay(place, self._place)
        for name in {*self._behind, *self._with_stored_edus}:
            self._want_turn(name)
        if place != self._place:
            self._flush_later()

    async def _begin_place(self, txn: Transaction) -> None:
        self._store.set_place(txn, PLACE, self._place)

    async def _replay(self, after: int, up_to: int) -> None:
        """What was committed and perhaps not told when the last run ended."""
        found = await self._store.list_own_events(self._own_name, after, up_to, REPLAY_MAX + 1)
        if len(found) > REPLAY_MAX:
            await self._db.write(lambda txn: self._store.note_own_events(txn, self._own_name, after))
            for name in self._told:
                self._fall_behind(name, after)
            return
        rooms = {room_id for room_id, _ in found}
        shared = {room_id for room_id in rooms if await self._store.has_users_of_others(room_id, self._own_name)}
        for room_id, position in found:
            room = await self._rooms.live.find(room_id) if room_id in shared else None
            if room is not None:
                for stored in await self._rooms.events.list_timeline(
                    room_id, room.version, after=position - 1, before=position + 1, limit=1, newest_first=True
                ):
                    self._queue_event(room, stored)

    async def stop(self) -> None:
        """End what is under way and write how far everybody was told."""
        self._stopped = True
        for timer in (self._flush_timer, self._retry_timer):
            if timer is not None:
                timer[1].cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._flush(everything=True)
        except Unavailable as error:
            _log.warning("how far other servers were told is not written: %s", error)

    def servers_of(self, room: LiveRoom) -> frozenset[str]:
        """The other servers that have users in a room, and that it allows."""
        return self._audiences.of(room)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way or could begin now."""
        return not self._turns.running and not self._turns.waiting and not self._fresh

    def told(self, server_name: str) -> int:
        """Up to which position a server was told of our events; 0 when of none."""
        return self._told.get(server_name, 0)

    def add_metrics(self, metrics: Metrics) -> None:
        """The numbers of the queues."""
        counts, name = self.counts, "halfdoor_federation"
        metrics.add_counter(f"{name}_sent_transactions", "Transactions others took", lambda: counts.transactions)
        metrics.add_counter(f"{name}_failed_transactions", "Transactions that failed", lambda: counts.failed)
        metrics.add_counter(f"{name}_sent_events", "Events in transactions that others took", lambda: counts.events)
        metrics.add_counter(f"{name}_sent_edus", "EDUs in transactions that others took", lambda: counts.edus)
        metrics.add_gauge(f"{name}_sending", "Servers to which something is sent now", lambda: self._turns.running)
        metrics.add_gauge(f"{name}_waiting", "Servers that wait for their turn", lambda: self._turns.waiting)
        metrics.add_gauge(f"{name}_behind", "Servers that are to be caught up with", lambda: len(self._behind))
        metrics.add_gauge(f"{name}_failing", "Servers that do not answer", lambda: self._backoff.failing)

    # ---- what is to be sent

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is not Change.EVENTS:
            return
        after = min(self._place, position - 1)
        for room_id in rooms:
            room = self._rooms.live.peek(room_id)
            if room is None:
                continue  # it was forgotten in this very moment: a join, which went to its resident server itself
            found = room.recent(after)
            if found is None:  # more at once than memory holds, or memory holds the room only since a moment
                found = list(room.timeline)
                if len(found) >= RING:
                    for name in self._audiences.of(room):
                        self._fall_behind(name, after)
            for stored in found:
                if stored.position > after:
                    self._queue_event(room, stored)
        self._place = max(self._place, position)
        self._flush_later(QUIET_FLUSH_SECONDS)

    def _queue_event(self, room: LiveRoom, stored: StoredEvent) -> None:
        event = stored.event
        if domain_of(event.sender) != self._own_name or event.type == DUMMY:
            if event.type == "m.room.member" and not room.has_server(self._own_name):
                self._note_last_words(room)
            elif event.type == "m.room.member" and len(room.extremities) > 1:
                self._tell_newcomer(room, event)
            return
        names: Collection[str] = self._audiences.of(room)
        if event.type == "m.room.member" and event.state_key is not None:
            target = domain_of(event.state_key)
            if target != self._own_name and target not in names and event.content.get("membership") != "invite":
                names = [*names, target]  # who was just removed is to hear of it
        if not names:
            return
        self._newest[room.room_id] = stored.position
        self._queue_for(names, room, stored)

    def _note_last_words(self, room: LiveRoom) -> None:
        """This server is out of the room: what is on its way from there is the last that the others hear."""
        for queue in self._queues.values():
            self._last_words.update((at, None) for at, room_id, _ in queue.events if room_id == room.room_id)
        while len(self._last_words) > LAST_WORDS_MAX:
            self._last_words.pop(next(iter(self._last_words)))

    def _tell_newcomer(self, room: LiveRoom, join: Event) -> None:
        """Whoever came into the room by another server while we said something has not been told of that: those ends of
        the room that are ours."""
        name = domain_of(join.state_key or "")
        if name != self._own_name and join.content.get("membership") == "join" and name in self._audiences.of(room):
            task = asyncio.create_task(self._tell_ends(room, name), name=f"ends of a room to {name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell_ends(self, room: LiveRoom, name: str) -> None:
        ends = [head.event_id for head in room.extremities]
        try:
            found = await self._rooms.events.find_events(room.room_id, room.version, ends)
        except Unavailable as error:
            _log.warning("%s is not told of the ends of a room: %s", name, error)
            return
        for stored in found:
            if domain_of(stored.event.sender) == self._own_name:
                if name in self._behind:
                    self._farewells.append((name, room.room_id, stored.position))
                    self._flush_later()
                else:
                    self._queue_for([name], room, stored)

    def pass_on(self, stored: StoredEvent, origin: str) -> None:
        """Tell the others in the room of an event that a server brought to us alone, such as its user's join. "The
        resident server must also send the event to other servers participating in the room." """
        room = self._rooms.live.peek(stored.event.room_id)
        if room is not None:
            self._queue_for([name for name in self._audiences.of(room) if name != origin], room, stored)

    def _queue_for(self, names: Iterable[str], room: LiveRoom, stored: StoredEvent) -> None:
        item = (stored.position, room.room_id, stored.event.pdu)
        if not room.has_server(self._own_name) and _is_about(stored.event.pdu, self._own_name):
            self._note_last_words(room)
            self._last_words[stored.position] = None
        for name in names:
            if name in self._behind:
                self._skipped[name] = stored.position
                self._note_farewell(name, item)
                continue
            queue = self._queues.get(name)
            if queue is None:
                queue = self._queues[name] = _Queue()
                self._fresh.append(name)  # whoever has a queue has asked for its turn already
            queue.events.append(item)
            if len(queue.events) > QUEUE_MAX or not self._backoff.may_try(name):
                self._fall_behind(name, queue.events[0][0] - 1)
                self._fresh.append(name)
        if self._fresh and not self._is_asking:
            self._is_asking = True
            asyncio.get_running_loop().call_soon(self._ask_for_turns)
        self._flush_later()

    def _ask_for_turns(self) -> None:
        """Those for whom something waits since a moment. A few at a time: whoever sent the event is answered first."""
        for _ in range(min(len(self._fresh), ASKED_AT_ONCE)):
            self._want_turn(self._fresh.popleft())
        self._is_asking = bool(self._fresh)
        if self._is_asking:
            asyncio.get_running_loop().call_soon(self._ask_for_turns)

    def _fall_behind(self, name: str, since: int) -> None:
        """Drop what waits in memory: the server is caught up with, from `since` on."""
        queue = self._queues.pop(name, None)
        for item in queue.events if queue is not None else ():
            self._note_farewell(name, item)
        self._behind[name] = min(since, self._behind.get(name, since))
        self._unwritten.add(name)
        self._flush_later()

    def catch_up(self, names: Iterable[str], since: int) -> None:
        """Tell servers what they were not told since a position, for it was not known that they are in a room."""
        for name in names:
            self._fall_behind(name, since)
            self._want_turn(name)

    def _note_farewell(self, name: str, item: tuple[int, str, dict[str, Any]]) -> None:
        if self._is_farewell(name, item):
            self._farewells.append((name, item[1], item[0]))

    def _is_farewell(self, name: str, item: tuple[int, str, dict[str, Any]]) -> bool:
        """Whether nothing later tells a server of an event: one that takes its user out of the room, or the last of
        ours, for should we come back, we begin anew with what the others know."""
        return item[0] in self._last_words or _is_about(item[2], name)

    def send_edu(self, destinations: Iterable[str], edu_type: str, content: dict[str, Any], *key: str) -> None:
        """Tell something that is worth nothing later; of the same `key` only the newest is told."""
        for name in destinations:
            if name == self._own_name or not self._backoff.may_try(name):
                continue
            queue = self._queues.get(name)
            if queue is None:
                queue = self._queues[name] = _Queue()
            if len(queue.edus) < KEYED_EDUS_MAX:
                queue.edus[edu_type, *key] = {"edu_type": edu_type, "content": content}
                self._want_turn(name)

    def keep_edu(
        self, txn: Transaction, destination: str, edu_type: str, content: dict[str, Any], about: str | None = None
    ) -> None:
        """Tell something that must arrive; inside a transaction. Of what is `about` the same only the newest waits."""
        edu = msgspec.json.encode({"edu_type": edu_type, "content": content}).decode()
        self._store.add_edu(txn, destination, edu, None if about is None else f"{edu_type} {about}")

        def committed() -> None:
            self._with_stored_edus.add(destination)
            self._want_turn(destination)

        txn.on_commit(committed)

    def wake(self, server_name: str) -> None:
        """A server has shown that it is there, or is to be tried earlier."""
        if self._has_work(server_name):
            self._want_turn(server_name)

    def _has_work(self, name: str) -> bool:
        return name in self._queues or name in self._behind or name in self._with_stored_edus

    def _lane_of(self, name: str) -> Lane:
        if self._backoff.get(name).failures:
            return Lane.FAILING
        return Lane.ANSWERING if name in self._told else Lane.NEW

    # ---- when it is sent

    def _want_turn(self, name: str) -> None:
        if self._stopped or self._turns.has_asked(name):
            return
        at = self._backoff.get(name).retry_at_ts
        if at > self._clock.now_ms():
            self._retry_at(name, at)
        else:
            self._turns.ask(name)

    def _retry_at(self, name: str, at: int) -> None:
        heapq.heappush(self._retries, (at, name))
        if len(self._retries) > 1_000 + 2 * (len(self._behind) + len(self._with_stored_edus)):
            self._retries = sorted(set(self._retries))  # those that were asked for again and again
        self._set_retry_timer()

    def _set_retry_timer(self) -> None:
        if not self._retries or self._stopped:
            return
        at = self._retries[0][0]
        if self._retry_timer is not None:
            if self._retry_timer[0] <= at:
                return
            self._retry_timer[1].cancel()
        pause = max((at - self._clock.now_ms()) / 1000, 0.05)
        self._retry_timer = (at, self._clock.call_later(pause, self._retry))

    def _retry(self) -> None:
        self._retry_timer = None
        now = self._clock.now_ms()
        while self._retries and self._retries[0][0] <= now:
            self.wake(heapq.heappop(self._retries)[1])
        self._set_retry_timer()

    def _begin(self, name: str) -> None:
        task = asyncio.create_task(self._run(name), name=f"federation to {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, name: str) -> None:
        """One turn: send until nothing is left, or it fails."""
        pause = 0
        try:
            while self._has_work(name) and self._backoff.may_try(name):
                await self._send_one(name)
                if self._is_done(name):
                    self._queues.pop(name, None)
        except (RemoteFailed, Unavailable) as error:
            _log.log(logging.DEBUG if self._backoff.get(name).failures > 1 else logging.INFO, "%s: %s", name, error)
            pause = AGAIN_MS
        except Exception:
            _log.exception("sending to %s failed; trying again", name)
            pause = 10 * AGAIN_MS
            with contextlib.suppress(Unavailable):
                await self._note_failure(name)  # whatever it is, it is not tried for ever
        finally:
            if not self._stopped:
                self._turns.done(name)
            if self._has_work(name) and not self._stopped:
                at = self._backoff.get(name).retry_at_ts
                if pause:
                    at = max(at, self._clock.now_ms() + pause)
                if at > self._clock.now_ms():
                    self._retry_at(name, at)
                else:
                    self._turns.ask(name)

    def _is_done(self, name: str) -> bool:
        queue = self._queues.get(name)
        return queue is not None and not queue.events and not queue.edus

    # ---- sending

    async def _send_one(self, name: str) -> None:
        """One transaction: events in their order, what waits in the database, what is told only now."""
        if name in self._behind:
            await self._send_missed(name, self._behind[name])
            return
        batch, queue = self._batches.get(name, PDUS_MAX), self._queues.get(name) or _Queue()
        taken = queue.events[:batch]
        if await self._send(name, batch, [pdu for _, _, pdu in taken], queue):
            del queue.events[: len(taken)]
            self._note_told(name, taken[-1][0] if taken else 0)

    async def _send_missed(self, name: str, since: int) -> None:
        """One part of what a server missed. With the last one its queue is opened again."""
        batch, goal = self._batches.get(name, PDUS_MAX), self._place
        await self._write_newest()
        part = await self._catching_up.part(name, since, goal, batch)
        is_last = part.is_last and self._skipped.get(name, 0) <= goal
        if is_last:
            self._skipped.pop(name, None)
            self._ending[name] = self._behind.pop(name)
        sent = False
        try:
            sent = await self._send(name, batch, part.pdus, self._queues.get(name) or _Queue())
        finally:
            if is_last:
                del self._ending[name]
            if not sent:
                self._fall_behind(name, since)
        if not sent:
            return
        if part.farewells_up_to is not None:
            farewells_up_to = part.farewells_up_to
            await self._db.write(lambda txn: self._store.remove_farewells(txn, name, farewells_up_to))
        if is_last:
            _log.info("%s has caught up", name)
        elif name in self._behind:
            self._behind[name] = part.up_to
        self._unwritten.add(name)
        self._note_told(name, part.up_to)
        self._flush_later()

    async def _send(self, name: str, batch: int, events: list[dict[str, Any]], queue: _Queue) -> bool:
        """A transaction with these events and with EDUs; whether it is done. Else it is to be sent in smaller parts."""
        limit = min(2 * batch, EDUS_MAX) if batch > 1 else 0 if events else 1  # one thing at a time, if it must be
        stored: list[tuple[int, str]] = []
        if limit and name in self._with_stored_edus:
            stored = await self._store.list_edus(name, limit)
            if len(stored) < limit:
                self._with_stored_edus.discard(name)
        edus = [msgspec.json.decode(text) for _, text in stored]
        edus += [queue.edus.pop(key) for key in list(queue.edus)[: limit - len(edus)]]
        if not events and not edus:
            return True
        try:
            await self._put(name, events, edus)
        except BaseException as error:
            if stored:
                self._with_stored_edus.add(name)
            if not isinstance(error, RemoteRefused) or error.status not in TOO_MUCH:
                if isinstance(error, RemoteFailed):
                    await self._note_failure(name)
                raise
            if batch > 1:
                self._batches[name] = 1
                return False
            _log.warning("%s refuses for good what it is sent, and it is dropped: %s", name, error)
        else:
            self.counts.transactions += 1
            self.counts.events += len(events)
            self.counts.edus += len(edus)
            if batch < PDUS_MAX:
                self._batches[name] = 2 * batch
            else:
                self._batches.pop(name, None)
        if stored:
            taken = stored[-1][0]
            await self._db.write(lambda txn: self._store.remove_edus(txn, name, taken))
        return True

    async def _put(self, name: str, events: list[dict[str, Any]], edus: list[Any]) -> None:
        self._transactions += 1
        body = {"origin": self._own_name, "origin_server_ts": self._clock.now_ms(), "pdus": events, "edus": edus}
        path = encoded("/_matrix/federation/v1/send/{}", f"{self._run_id}.{self._transactions}")
        timeout = TIMEOUT_SECONDS if name in self._told or self._backoff.get(name).failures else FIRST_TIMEOUT_SECONDS
        await self._client.request(name, "PUT", path, body=body, timeout=timeout, patient=True)

    async def _note_failure(self, name: str) -> None:
        self.counts.failed += 1
        queue = self._queues.pop(name, None)
        if queue is not None and queue.events:
            self._queues[name] = queue
            self._fall_behind(name, queue.events[0][0] - 1)
        self._batches[name] = 1
        await self._backoff.note_failure(name)

    def _note_told(self, name: str, up_to: int) -> None:
        if name not in self._told:
            self._unwritten.add(name)
            self._flush_later()
        self._told[name] = max(up_to, self._told.get(name, 0))

    # ---- the stored place

    def _flush_later(self, seconds: float = FLUSH_SECONDS) -> None:
        if self._flush_timer is not None:
            if self._flush_timer[0] <= seconds:
                return
            self._flush_timer[1].cancel()
        if not self._stopped:
            self._flush_timer = (seconds, self._clock.call_later(seconds, self._flush_now))

    def _flush_now(self) -> None:
        self._flush_timer = None
        task = asyncio.create_task(self._flush_quietly(), name="federation's place")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flush_quietly(self) -> None:
        try:
            await self._flush()
        except Unavailable as error:
            _log.warning("how far other servers were told is written later: %s", error)
            self._flush_later()

    async def _write_newest(self) -> None:
        """Only what catching up reads."""
        async with self._flushing:
            newest, farewells = self._newest, self._farewells
            self._newest, self._farewells = {}, []
            if not newest and not farewells:
                return

            async def job(txn: Transaction) -> None:
                self._add_newest(txn, newest, farewells)

            try:
                await self._db.write(job)
            except BaseException:
                self._newest = {**newest, **self._newest}
                self._farewells += farewells
                raise

    def _add_newest(self, txn: Transaction, newest: dict[str, int], farewells: list[tuple[str, str, int]]) -> None:
        for room_id, position in newest.items():
            self._store.set_own_newest(txn, room_id, position)
        for name, room_id, position in farewells:
            self._store.add_farewell(txn, name, room_id, position)

    async def _flush(self, *, everything: bool = False) -> None:
        """Write how far everybody was told: one place for all that keep up, a row for each that does not."""
        async with self._flushing:
            place, newest, farewells = self._place, self._newest, self._farewells
            self._newest, self._farewells = {}, []
            unwritten, self._unwritten = self._unwritten, set()
            rows: dict[str, tuple[int, bool]] = {}
            behind = {**self._behind, **self._ending}
            keeping_up = {name for name in self._written_as_behind if name not in behind}
            for name in (*unwritten, *keeping_up, *(self._told if everything else ())):
                rows[name] = (behind.get(name, self._told.get(name, 0)), name in behind)
            for name, queue in self._queues.items():
                if queue.events and name not in behind:
                    rows[name] = (queue.events[0][0] - 1, True)
                    farewells += [(name, one[1], one[0]) for one in queue.events if self._is_farewell(name, one)]

            async def job(txn: Transaction) -> None:
                self._add_newest(txn, newest, farewells)
                for name, (position, is_behind) in rows.items():
                    self._store.set_told(txn, name, position, is_behind=is_behind)
                self._store.set_place(txn, PLACE, place)

            try:
                await self._db.write(job)
            except BaseException:
                self._newest = {**newest, **self._newest}
                self._farewells += farewells
                self._unwritten |= unwritten
                raise
            self._written_as_behind -= rows.keys()
            self._written_as_behind |= {name for name, (_, is_behind) in rows.items() if is_behind}


def _is_about(pdu: dict[str, Any], server_name: str) -> bool:
    """Whether an event says something of the membership of a server's user."""
    return pdu["type"] == "m.room.member" and domain_of(str(pdu.get("state_key", ""))) == server_name
