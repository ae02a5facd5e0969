"""Read receipts: public, private and of threads. Spec: Client-Server API, "Receipts", "Threaded read receipts"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from homeserver.clock import Clock
from homeserver.protocol.errors import InvalidParam, NotFound, NotInRoom
from homeserver.protocol.relations import THREAD, relation_of
from homeserver.rooms.live_room import LiveRoom, LiveRooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.receipts import Receipt, ReceiptStore
from homeserver.stream import Change, Stream

READ: Final = "m.read"
PRIVATE: Final = "m.read.private"
UNTHREADED: Final = ""
MAIN: Final = "main"


class Receipts:
    """Sets and lists receipts."""

    def __init__(
        self,
        *,
        db: Database,
        store: ReceiptStore,
        events: EventStore,
        rooms: LiveRooms,
        stream: Stream,
        clock: Clock,
    ) -> None:
        self._db = db
        self._store = store
        self._events = events
        self._rooms = rooms
        self._stream = stream
        self._clock = clock

    async def set_receipt(
        self, user_id: str, room_id: str, receipt_type: str, event_id: str, thread_id: str | None = None
    ) -> None:
        """`user_id` has read up to `event_id`; moving backwards is no error and changes nothing.

        Raises Forbidden for people outside the room (B11), NotFound for events that are not of it, InvalidParam for a
        thread that the event is not part of.
        """
        room, target = await self.check_may_mark(user_id, room_id, event_id)
        thread = UNTHREADED if thread_id is None else thread_id
        if thread_id is not None:
            await self._check_thread(room, target, thread_id)
        now = self._clock.now_ms()

        async def job(txn: Transaction) -> None:
            position = txn.next_position()
            receipt = Receipt(room_id, user_id, receipt_type, thread, event_id, target.position, now, position)
            if await self._store.set_receipt(txn, receipt):
                users = (user_id,)
                rooms = (room_id,) if receipt_type == READ else ()
                txn.on_commit(lambda: self._stream.announce(Change.RECEIPTS, position, rooms=rooms))
                txn.on_commit(lambda: self._stream.announce(Change.PRIVATE_RECEIPTS, position, users=users))

        await self._db.write(job)

    async def check_may_mark(self, user_id: str, room_id: str, event_id: str) -> tuple[LiveRoom, StoredEvent]:
        """The room and the event. Raises Forbidden for people outside the room, NotFound for events not of it."""
        room = await self._rooms.find(room_id)
        if room is None or not room.may_be_joined(user_id):
            raise NotInRoom()
        target = await self._find(room, event_id)
        if target is None:
            raise NotFound("The event is not in the room")
        return room, target

    async def list_changed(self, room_ids: Sequence[str], after: int) -> dict[str, list[Receipt]]:
        """Receipts by room that were set after a position."""
        found: dict[str, list[Receipt]] = {}
        for receipt in await self._store.list_receipts(room_ids, after):
            found.setdefault(receipt.room_id, []).append(receipt)
        return found

    async def list_stream(self, after: int, up_to: int) -> dict[str, list[Receipt]]:
        """Receipts by room that were set in after < position <= up_to, of all rooms."""
        found: dict[str, list[Receipt]] = {}
        for receipt in await self._store.list_stream(after, up_to):
            found.setdefault(receipt.room_id, []).append(receipt)
        return found

    async def _find(self, room: LiveRoom, event_id: str) -> StoredEvent | None:
        for stored in reversed(room.timeline):
            if stored.event_id == event_id:
                return stored
        for stored in await self._events.find_events(room.room_id, room.version, [event_id]):
            if stored.status == 0:
                return stored
        return None

    async def _check_thread(self, room: LiveRoom, target: StoredEvent, thread_id: str) -> None:
        if not thread_id:
            raise InvalidParam("thread_id must not be empty; leave it out for a receipt of the whole room")
        if thread_id != MAIN and not thread_id.startswith("$"):
            raise InvalidParam("thread_id must be 'main' or the id of a thread's root event")
        relation = relation_of(target.event.content)
        hops = 0
        event: StoredEvent | None = target
        while event is not None and hops < 3:
            relation = relation_of(event.event.content)
            if relation.rel_type == THREAD:
                if relation.event_id != thread_id:
                    raise InvalidParam("The event is not part of this thread")
                return
            if event.event_id == thread_id or relation.event_id is None:
                break
            event = await self._find(room, relation.event_id)
            hops += 1
        if thread_id != MAIN and target.event_id != thread_id and (event is None or event.event_id != thread_id):
            raise InvalidParam("The event is not part of this thread")


def receipts_contents(receipts: Sequence[Receipt], reader_id: str) -> list[dict[str, Any]]:
    """The contents of m.receipt events as `reader_id` may see them: of private receipts only the reader's own.

    Usually one. Its form has room for one receipt of a user on an event; where there are more, of threads and of the
    whole room, the next event takes them.
    """
    contents: list[dict[str, Any]] = []
    for receipt in receipts:
        if receipt.receipt_type == PRIVATE and receipt.user_id != reader_id:
            continue
        entry: dict[str, Any] = {"ts": receipt.ts}
        if receipt.thread_id != UNTHREADED:
            entry["thread_id"] = receipt.thread_id
        for content in contents:
            users = content.setdefault(receipt.event_id, {}).setdefault(receipt.receipt_type, {})
            if receipt.user_id not in users:
                users[receipt.user_id] = entry
                break
        else:
            contents.append({receipt.event_id: {receipt.receipt_type: {receipt.user_id: entry}}})
    return contents
