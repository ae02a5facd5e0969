"""Receiving events in a room of whose state only a part is here yet.

An event is believed to be right about its own sender: the sender's member event is taken from the event's auth events,
which had to hold by themselves. What even so is not allowed by the part is neither rejected nor soft failed, both of
which would be for good: it waits. When the whole state has come, all is judged again (`partial_state.py`).

Spec: MSC3902, "Faster joins: handling of events while the state is partial".
"""

from __future__ import annotations

from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import domain_of
from homeserver.rooms.live_room import MEMBER, LiveRoom, membership_of
from homeserver.rooms.persistence import Prepared
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import FOR_GOOD_REJECTED, OUTLIER, EventStore, StoredEvent
from homeserver.storage.partial_state import PartialStateStore
from homeserver.storage.rooms import Membership, RoomStore


class PartialJudging:
    """What `Receiver` asks of a partial room."""

    def __init__(self, db: Database, events: EventStore, store: RoomStore, partial: PartialStateStore) -> None:
        self._db = db
        self._events = events
        self._store = store
        self._partial = partial

    async def learn(self, room: LiveRoom, event: Event) -> None:
        """Take the member events of the sender, and of who authorises the sender's join, from the event's auth events,
        unless the room has some already."""
        users: set[str] = {event.sender}
        authoriser = event.content.get("join_authorised_via_users_server")
        if event.type == MEMBER and isinstance(authoriser, str):
            users.add(authoriser)
        partial = room.partial
        assert partial is not None
        # Of servers that are not known to be in the room, nobody is believed to be: they would be sent what we write.
        users = {
            user_id
            for user_id in users
            if (MEMBER, user_id) not in room.state_ids and domain_of(user_id) in partial.servers
        }
        if not users:
            return
        found = await self._events.find_events(room.room_id, room.version, event.auth_events)
        members = [
            stored
            for stored in found
            if stored.event.type == MEMBER
            and stored.event.state_key in users
            and stored.status not in FOR_GOOD_REJECTED
        ]
        if not members:
            return

        base = partial.base  # they were there before; the log is written anew when all is known

        async def job(txn: Transaction) -> None:
            for stored in members:
                event = stored.event
                self._store.set_state(txn, room.room_id, event.key, stored.event_id, base)
                self._store.set_membership(
                    txn,
                    Membership(
                        room.room_id, event.key[1], membership_of(event), stored.event_id, event.sender, base, False
                    ),
                )
            txn.on_commit(learned)

        def learned() -> None:
            for stored in members:
                room.set_state(stored.event.key, stored)

        await self._db.write(job)

    async def keep(self, room: LiveRoom, event: Event, *, is_new: bool) -> None:
        """Let an event wait for the whole state."""

        async def job(txn: Transaction) -> None:
            if is_new:
                outlier = StoredEvent(event, txn.next_position(), status=OUTLIER)
                self._events.add_event(txn, outlier, Prepared.of(event).text)
            self._partial.add_waiting(txn, room.room_id, event.event_id)

        await self._db.write(job)
