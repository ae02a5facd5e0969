"""Steps 6 and 7 for events of other servers that were judged by themselves: to the database, memory and the stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from homeserver.notifier import Notifier
from homeserver.rooms.live_room import MEMBER, Head, LiveRoom, membership_of
from homeserver.rooms.persistence import Persistence, Prepared
from homeserver.storage.database import Transaction
from homeserver.storage.event_graph import BranchState, EventGraphStore
from homeserver.storage.events import ACCEPTED, EventStore, StoredEvent
from homeserver.storage.rooms import Membership, RoomStore, StateKey
from homeserver.stream import Change, Stream


@dataclass(slots=True)
class Received:
    """A judged event, ready to be written.

    `before`: the state before it. `heads`: the room's forward extremities afterwards; `changes`: what becomes of the
    current state (None: nothing is there any more), of which `changed_to` has the events that are stored already.
    `waits_for_target`: it redacts what is not here yet. `redaction`: one that came before it. `unknown`: predecessors
    that are not here, and that whoever scrolls there will want.
    """

    prepared: Prepared
    status: int
    before: BranchState
    heads: list[Head]
    reason: str = ""
    changes: dict[StateKey, str | None] = field(default_factory=dict)
    changed_to: dict[str, StoredEvent] = field(default_factory=dict)
    waits_for_target: bool = False
    redaction: StoredEvent | None = None
    was_outlier: bool = False
    unknown: Sequence[str] = ()


class ReceivedEvents:
    """Writes them."""

    def __init__(
        self,
        *,
        events: EventStore,
        store: RoomStore,
        graph: EventGraphStore,
        persistence: Persistence,
        stream: Stream,
        notifier: Notifier,
    ) -> None:
        self._events = events
        self._store = store
        self._graph = graph
        self._persistence = persistence
        self._stream = stream
        self._notifier = notifier

    async def write(
        self, txn: Transaction, room: LiveRoom, received: Received, groups: dict[int, int] | None = None
    ) -> StoredEvent:
        """Write an event, whatever was found of it; runs inside a write job, of a room that is held.

        `groups`: where the same job has stored states, by their identity.
        """
        prepared = received.prepared
        event = prepared.event
        if received.was_outlier:
            await self._events.remove_outlier(txn, event.event_id)
        position = txn.next_position()
        groups = {} if groups is None else groups
        group = self._write_state(txn, room.room_id, position, received.before, groups)
        stored = StoredEvent(event, position, status=received.status, replaces=prepared.replaces)
        accepted = received.status == ACCEPTED
        self._events.add_event(
            txn,
            stored,
            prepared.text,
            state_group=group,
            relates_to=prepared.relates_to if accepted else None,
            relation=prepared.relation if accepted else None,
        )
        self._graph.remove_unknown(txn, room.room_id, event.event_id)
        self._graph.add_unknown(txn, room.room_id, event.event_id, received.unknown)
        if not accepted:
            return stored
        if received.waits_for_target and event.redacts is not None:
            self._graph.add_waiting_redaction(txn, room.room_id, event.redacts, event.event_id)
        self._store.set_extremities(txn, room.room_id, received.heads)
        changed = {key: _changed_to(received, stored, event_id) for key, event_id in received.changes.items()}
        for key, now in changed.items():
            if now is None:
                self._store.remove_state(txn, room.room_id, key, position)
            else:
                self._store.set_state(txn, room.room_id, key, now.event_id, position)
            if key[0] == MEMBER:
                self._write_membership(txn, room.room_id, key[1], now, stored)
        target, redaction = prepared.redaction_target, event
        if received.redaction is not None:
            target, redaction = stored, received.redaction.event
        emptied = None if target is None else await self._persistence.redact(txn, target, redaction)
        await self._persistence.note_sticky(txn, stored)
        txn.on_commit(lambda: self._committed(room, received, stored, changed, emptied))
        return stored

    def _write_state(
        self, txn: Transaction, room_id: str, position: int, state: BranchState, groups: dict[int, int]
    ) -> int:
        group = state.group or groups.get(id(state))
        if group is None:
            grown = state.grown
            parent = None if grown is None else grown.parent.group or groups.get(id(grown.parent))
            group = groups[id(state)] = position
            self._graph.add_branch_state(txn, room_id, group, state, parent)
        return group

    def _write_membership(
        self, txn: Transaction, room_id: str, user_id: str, now: StoredEvent | None, cause: StoredEvent
    ) -> None:
        member = cause.event if now is None else now.event
        membership = "leave" if now is None else membership_of(member)
        self._store.set_membership(
            txn, Membership(room_id, user_id, membership, member.event_id, member.sender, cause.position, False)
        )

    def _committed(
        self,
        room: LiveRoom,
        received: Received,
        stored: StoredEvent,
        changed: Mapping[StateKey, StoredEvent | None],
        emptied: StoredEvent | None,
    ) -> None:
        room.commit(stored, received.heads, is_state=False)
        room.extremities = list(received.heads)
        for key, now in changed.items():
            if now is None:
                room.remove_state(key)
            else:
                room.set_state(key, now)
            room.state_changed_at = stored.position
            if now is not stored:
                room.resolved_at = stored.position
        if stored.event.state_key is not None and stored.event.key not in changed:
            room.resolved_at = stored.position  # it is in the timeline, and not in the state
        if received.prepared.relates_to is not None:
            room.note_relation(received.prepared.relates_to)
        if emptied is not None:
            room.replace_in_memory(emptied.event_id, emptied)
        members = [key[1] for key in changed if key[0] == MEMBER]
        for user_id in members:
            self._notifier.follow_room(user_id, room.room_id, room.members.get(user_id) == "join")
        if members:
            self._stream.announce(Change.MEMBERSHIP, stored.position, users=members)
        self._stream.announce(Change.EVENTS, stored.position, rooms=(room.room_id,))


def _changed_to(received: Received, stored: StoredEvent, event_id: str | None) -> StoredEvent | None:
    if event_id is None:
        return None
    return stored if event_id == stored.event_id else received.changed_to[event_id]
