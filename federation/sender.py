"""Sends what happens here to the other servers of each room: a queue for each, so that none waits for another (B30).

What is to be sent is found in the stream, never in the request that made it. Each destination has a stored place in the
stream. While it keeps up, its queue is in memory; after a restart or an outage it catches up: of each room that it is
in, the newest of our events, from which it asks for the rest itself. So an outage of any length makes no flood.

Typing, receipts and presence are told if that is possible at once, and only as they are by then. Messages between
devices wait in the database until they are taken.

Spec: Server-Server API, "Transactions", "EDUs".
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from federation.backoff import Backoff
from federation.client import FederationClient, RemoteFailed, RemoteRefused, encoded
from federation.transactions import acl_of
from homeserver.clock import Clock
from homeserver.protocol.errors import Unavailable
from homeserver.protocol.identifiers import domain_of
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.services import RoomServices
from homeserver.storage.database import Database, Transaction
from homeserver.storage.destinations import DestinationStore
from homeserver.storage.events import StoredEvent
from homeserver.stream import Change, Stream

PDUS_MAX: Final = 50
EDUS_MAX: Final = 100
QUEUE_MAX: Final = 1_000
"""Beyond so many waiting events a destination is caught up with instead."""
KEYED_EDUS_MAX: Final = 1_000

_log = logging.getLogger("federation.sender")


@dataclass(slots=True)
class _Queue:
    """What waits for one destination. `edus`: by what they are about, so that only the newest of each is told."""

    server_name: str
    events: deque[tuple[int, dict[str, Any]]] = field(default_factory=deque)
    edus: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    has_stored_edus: bool = False
    behind: bool = False
    task: asyncio.Task[None] | None = None
    moved: asyncio.Event = field(default_factory=asyncio.Event)


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
        stream: Stream,
        clock: Clock,
        own_name: str,
    ) -> None:
        self._db = db
        self._store = store
        self._client = client
        self._backoff = backoff
        self._rooms = rooms
        self._stream = stream
        self._clock = clock
        self._own_name = own_name
        self._queues: dict[str, _Queue] = {}
        self._place = 0
        self._stopped = False

    async def start(self) -> None:
        """Follow the stream from now on, and catch up with those that fell behind earlier."""
        self._place = self._db.position
        self._stream.listen(self._changed)
        waiting = set(await self._store.list_waiting_destinations())
        for destination in self._backoff.known():
            if destination.sent_position < self._place or destination.server_name in waiting:
                queue = self._queue(destination.server_name)
                queue.behind = queue.has_stored_edus = True
                queue.moved.set()

    async def stop(self) -> None:
        self._stopped = True
        tasks = [queue.task for queue in self._queues.values() if queue.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def servers_of(self, room: LiveRoom) -> frozenset[str]:
        """The other servers that have users in a room."""
        return frozenset(room.servers) - {self._own_name}

    # ---- what is to be sent

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is not Change.EVENTS:
            return
        for room_id in rooms:
            room = self._rooms.live.peek(room_id)
            if room is None:
                continue  # it was forgotten in this very moment: a join, which went to its resident server itself
            for stored in room.recent(self._place) or ():
                self._queue_event(room, stored)
        self._place = max(self._place, position)

    def _queue_event(self, room: LiveRoom, stored: StoredEvent) -> None:
        event = stored.event
        if domain_of(event.sender) != self._own_name:
            return
        names = self.servers_of(room)
        if event.type == "m.room.member" and event.state_key is not None:
            target = domain_of(event.state_key)
            if target != self._own_name and event.content.get("membership") != "invite":
                names |= {target}  # who was just removed is to hear of it
        acl = acl_of(room)
        for name in names:
            if not acl.allows(name):
                continue
            queue = self._queue(name)
            if queue.behind or len(queue.events) >= QUEUE_MAX:
                queue.behind = True
                queue.events.clear()
            else:
                queue.events.append((stored.position, event.pdu))
            queue.moved.set()

    def send_edu(self, destinations: Iterable[str], edu_type: str, content: dict[str, Any], *key: str) -> None:
        """Tell something that is worth nothing later; of the same `key` only the newest is told."""
        for name in destinations:
            if name == self._own_name or not self._backoff.may_ask(name):
                continue
            queue = self._queue(name)
            if len(queue.edus) < KEYED_EDUS_MAX:
                queue.edus[edu_type, *key] = {"edu_type": edu_type, "content": content}
                queue.moved.set()

    def keep_edu(self, txn: Transaction, destination: str, edu_type: str, content: dict[str, Any]) -> None:
        """Tell something that must arrive; inside a transaction."""
        self._store.add_edu(txn, destination, msgspec.json.encode({"edu_type": edu_type, "content": content}).decode())

        def committed() -> None:
            queue = self._queue(destination)
            queue.has_stored_edus = True
            queue.moved.set()

        txn.on_commit(committed)

    def wake(self, server_name: str) -> None:
        """A server has shown that it is there."""
        queue = self._queues.get(server_name)
        if queue is not None:
            queue.moved.set()

    def _queue(self, name: str) -> _Queue:
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue(name)
        if queue.task is None and not self._stopped:
            queue.task = asyncio.create_task(self._run(queue), name=f"federation to {name}")
        return queue

    # ---- sending

    async def _run(self, queue: _Queue) -> None:
        while True:
            await queue.moved.wait()
            queue.moved.clear()
            try:
                while queue.events or queue.edus or queue.has_stored_edus or queue.behind:
                    await self._wait_for_turn(queue)
                    await self._send_one(queue)
            except (RemoteFailed, Unavailable) as error:
                _log.info("%s: %s", queue.server_name, error)
                queue.edus.clear()
                queue.moved.set()
                await self._clock.sleep(1.0)
            except Exception:
                _log.exception("sending to %s failed; trying again", queue.server_name)
                queue.moved.set()
                await self._clock.sleep(10.0)

    async def _wait_for_turn(self, queue: _Queue) -> None:
        while not self._backoff.may_ask(queue.server_name):
            queue.edus.clear()
            pause = (self._backoff.get(queue.server_name).retry_at_ts - self._clock.now_ms()) / 1000
            queue.moved.clear()
            waiting = asyncio.ensure_future(queue.moved.wait())
            sleeping = asyncio.ensure_future(self._clock.sleep(max(pause, 0.05)))
            try:
                await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                sleeping.cancel()

    async def _send_one(self, queue: _Queue) -> None:
        """One transaction: events in their order, what waits in the database, what is told only now."""
        name = queue.server_name
        known = self._backoff.get(name)
        if queue.behind:
            events, up_to = await self._catch_up(queue)
        else:
            taken = list(queue.events)[:PDUS_MAX]
            events = [pdu for _, pdu in taken]
            up_to = taken[-1][0] if taken else known.sent_position
        stored_edus = await self._store.list_edus(name, EDUS_MAX) if queue.has_stored_edus else []
        if len(stored_edus) < EDUS_MAX:
            queue.has_stored_edus = False
        edus = [msgspec.Raw(text.encode()) for _, text in stored_edus]
        told = list(queue.edus)[: EDUS_MAX - len(edus)]
        if not events and not edus and not told:
            await self._keep(name, up_to, None)
            return
        body = {
            "origin": self._own_name,
            "origin_server_ts": self._clock.now_ms(),
            "pdus": events,
            "edus": [*(msgspec.json.decode(edu) for edu in edus), *(queue.edus.pop(key) for key in told)],
        }
        # A number that was never used, also not before a crash: the same transaction is the same again.
        txn_id = f"{known.txn_number + 1}.{up_to}"
        try:
            await self._client.request(
                name, "PUT", encoded("/_matrix/federation/v1/send/{}", txn_id), body=body, patient=True
            )
        except RemoteFailed as error:
            if queue.has_stored_edus or stored_edus:
                queue.has_stored_edus = True
            if isinstance(error, RemoteRefused) and error.status in (400, 413) and events:
                _log.warning("%s refuses a transaction for good: %s", name, error)
            else:
                queue.behind = queue.behind or bool(events)
                if queue.behind:
                    queue.events.clear()
                await self._backoff.note_failure(name)
                raise
        while queue.events and not queue.behind and queue.events[0][0] <= up_to:
            queue.events.popleft()
        await self._keep(name, up_to, stored_edus[-1][0] if stored_edus else None)

    async def _keep(self, name: str, up_to: int, edus_up_to: int | None) -> None:
        known = self._backoff.get(name)
        destination = replace(known, sent_position=max(known.sent_position, up_to), txn_number=known.txn_number + 1)
        self._backoff.keep(destination)

        async def job(txn: Transaction) -> None:
            if edus_up_to is not None:
                await self._store.remove_edus(txn, name, edus_up_to)
            self._store.set_destination(txn, destination)

        await self._db.write(job)

    async def _catch_up(self, queue: _Queue) -> tuple[list[dict[str, Any]], int]:
        """The newest of our events in each room that the destination is in and has not heard of; how far that goes."""
        name = queue.server_name
        goal = self._db.position
        since = self._backoff.get(name).sent_position
        events: list[dict[str, Any]] = []
        for room_id, position in await self._store.list_newest_own_events(self._own_name, since):
            room = await self._rooms.live.find(room_id)
            if room is None or name not in self.servers_of(room) or not acl_of(room).allows(name):
                continue
            found = await self._rooms.events.list_timeline(
                room_id, room.version, after=position - 1, before=position + 1, limit=1, newest_first=True
            )
            events += [stored.event.pdu for stored in found]
            if len(events) == PDUS_MAX:
                return events, position
        queue.behind = False
        return events, goal
