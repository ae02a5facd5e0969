"""Steps 6 and 7 of the pipeline: events into the database, and from the commit into memory and the stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from homeserver.notifier import Notifier
from homeserver.protocol.errors import TooLarge
from homeserver.protocol.events import Event
from homeserver.protocol.redaction import redact
from homeserver.protocol.relations import NO_RELATION, relation_of
from homeserver.protocol.sticky_events import STICKY_FIELD
from homeserver.rooms.live_room import MEMBER, Head, LiveRoom, LiveRooms, head_of, membership_of
from homeserver.rooms.places import Place
from homeserver.rooms.sticky_events import StickyEvents
from homeserver.storage.database import Transaction
from homeserver.storage.event_graph import EventGraphStore
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.rooms import Membership, RoomStore
from homeserver.stream import Change, Stream

MAX_EVENT_BYTES: Final = 65_536

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Prepared:
    """A signed and authorised event, ready to be written. `heads`: the room's forward extremities with it. `place`: the
    state before it, where it does not stand on all of the room's newest events; it is no state event then."""

    event: Event
    text: str
    transaction_key: str | None
    replaces: Event | None
    redaction_target: StoredEvent | None
    relates_to: str | None
    relation: str | None
    heads: list[Head]
    place: Place | None = None

    @classmethod
    def of(
        cls,
        event: Event,
        transaction_key: str | None = None,
        replaces: Event | None = None,
        redaction_target: StoredEvent | None = None,
        *,
        place: Place | None = None,
    ) -> Prepared:
        """Encode `event` for storage. Raises TooLarge beyond 65,536 bytes (A19)."""
        text = _encoded(event)
        relation = relation_of(event.content) if event.state_key is None else NO_RELATION
        return cls(
            event,
            text,
            transaction_key,
            replaces,
            redaction_target,
            relation.event_id,
            relation.rel_type,
            [],
            place,
        )

    def encode_again(self) -> None:
        """The event got another signature. Raises TooLarge."""
        self.text = _encoded(self.event)


def _encoded(event: Event) -> str:
    text = _encode(event.pdu)
    if len(text) > MAX_EVENT_BYTES:
        raise TooLarge(f"The event has {len(text)} bytes; at most {MAX_EVENT_BYTES} are allowed")
    return text.decode()


class Persistence:
    """Writes events that the pipeline accepted."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        events: EventStore,
        store: RoomStore,
        graph: EventGraphStore,
        sticky: StickyEvents,
        stream: Stream,
        notifier: Notifier,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._store = store
        self._graph = graph
        self._sticky = sticky
        self._stream = stream
        self._notifier = notifier

    async def write(
        self, txn: Transaction, room: LiveRoom, prepared: Sequence[Prepared], *, new: bool
    ) -> list[StoredEvent]:
        """Write `prepared`, which stand one on the other on the room's draft head; runs inside a write job."""
        written: list[StoredEvent] = []
        groups: dict[int, int] = {}
        for item in prepared:
            event = item.event
            stored = StoredEvent(
                event,
                txn.next_position(),
                replaces=item.replaces,
                transaction_key=item.transaction_key,
                has_relations=False,
            )
            if new and not written:
                self._store.add_room(
                    txn, room.room_id, room.version.identifier, room.creator, [head_of(event)], stored.position
                )
            group = None if item.place is None else self._write_place(txn, stored, item.place, groups)
            self._events.add_event(
                txn, stored, item.text, state_group=group, relates_to=item.relates_to, relation=item.relation
            )
            await self.note_sticky(txn, stored)
            if event.state_key is not None:
                self._store.set_state(txn, room.room_id, event.key, event.event_id, stored.position)
                if event.type == MEMBER:
                    self._write_membership(txn, room.room_id, stored)
            written.append(stored)
        heads = prepared[-1].heads
        if len(prepared) > 1 or not new:
            self._store.set_extremities(txn, room.room_id, heads)
        redactions = [
            await self.redact(txn, item.redaction_target, item.event) for item in prepared if item.redaction_target
        ]
        txn.on_commit(lambda: self._committed(room, prepared, written, redactions, heads, new=new))
        return written

    def _write_place(self, txn: Transaction, stored: StoredEvent, place: Place, groups: dict[int, int]) -> int:
        """Where the state before an event on a branch is stored. `groups`: by place, what this job has stored."""
        self._graph.remove_unknown(txn, stored.event.room_id, stored.event_id)
        group = place.group or groups.get(id(place))
        if group is None:
            group = groups[id(place)] = stored.position
            self._graph.add_branch_state(txn, stored.event.room_id, group, place.state)

            def committed() -> None:
                place.group = group

            txn.on_commit(committed)
        return group

    async def note_sticky(self, txn: Transaction, stored: StoredEvent) -> None:
        """Keep the event at hand if it is sticky (MSC4354)."""
        if STICKY_FIELD in stored.event.pdu:
            await self._sticky.write(txn, stored)

    def _write_membership(self, txn: Transaction, room_id: str, stored: StoredEvent) -> None:
        event = stored.event
        assert event.state_key is not None
        self._store.set_membership(
            txn,
            Membership(
                room_id, event.state_key, membership_of(event), event.event_id, event.sender, stored.position, False
            ),
        )

    async def redact(self, txn: Transaction, target: StoredEvent, redaction: Event) -> StoredEvent:
        """Empty the target, in the database and in the form that memory will hold."""
        version = redaction.room_version
        emptied = redact(target.event.pdu, version)
        await self._events.set_redacted(txn, target.event_id, _encode(emptied).decode(), redaction.event_id)
        return StoredEvent(
            Event(emptied, version, target.event_id),
            target.position,
            status=target.status,
            replaces=target.replaces,
            redacted_because=redaction,
            transaction_key=target.transaction_key,
            has_relations=target.has_relations,
        )

    def _committed(
        self,
        room: LiveRoom,
        prepared: Sequence[Prepared],
        written: Sequence[StoredEvent],
        redactions: Sequence[StoredEvent],
        heads: list[Head],
        *,
        new: bool,
    ) -> None:
        if new:
            self._rooms.keep(room)
        for item, stored in zip(prepared, written, strict=True):
            room.commit(stored, heads, is_state=stored.event.state_key is not None)
            if item.relates_to is not None:
                room.note_relation(item.relates_to)
        for emptied in redactions:
            room.replace_in_memory(emptied.event_id, emptied)
        for stored in written:
            if stored.event.type == MEMBER:
                self._announce_member(room, stored)
        self._stream.announce(Change.EVENTS, written[-1].position, rooms=(room.room_id,))

    def _announce_member(self, room: LiveRoom, stored: StoredEvent) -> None:
        user_id = stored.event.state_key
        assert user_id is not None
        self._notifier.follow_room(user_id, room.room_id, room.members.get(user_id) == "join")
        self._stream.announce(Change.MEMBERSHIP, stored.position, users=(user_id,))
