"""History of before this server was in a room, as other servers tell of it: events with places before everything else,
and the log of the room's state as it was then.

What is told is checked, not believed. The events are those that known events name as their predecessors, directly or
over others: an event id is a hash since room version 3, so nobody slips an event in that was not in the room's graph.
Each is judged by its own auth events, and rejected for good by those alone. The state before the oldest is asked for
(`/state_ids`), and carried forward from there; an event that it forbids is kept and shown to nobody, but not rejected,
since it may be the state that is a lie. Where no state can be had, the events are left for another server to tell.

The log then says of each event what the history visibility and the memberships were before it, so that whoever reads it
goes by the rule of its time (A17, G05). Its oldest state stands at `FLOOR`; above it there are only changes.

Spec: Server-Server API, "Backfilling and retrieving missing events"; Client-Server API, "Room History Visibility".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from homeserver.protocol.authorization import NotAuthorized, auth_keys_of, check_authorized
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.events import Event
from homeserver.rooms.branches import Branches, UnknownEvents
from homeserver.rooms.importing import RoomImport, judge
from homeserver.rooms.live_room import LiveRoom, LiveRooms
from homeserver.rooms.persistence import Prepared
from homeserver.storage.database import Database, Transaction
from homeserver.storage.event_graph import EventGraphStore
from homeserver.storage.events import (
    ACCEPTED,
    FOR_GOOD_REJECTED,
    REJECTED,
    SOFT_FAILED,
    UNKNOWN_STATE,
    WITHOUT_A_PLACE,
    EventStore,
    StoredEvent,
)
from homeserver.storage.past_states import FLOOR, PastStateStore
from homeserver.storage.rooms import RoomStore, StateKey

STATES_MAX: Final = 5
"""So many states are asked for with one page: that before the oldest event, and those of branches."""
CREATE: Final = ("m.room.create", "")

State = Mapping[StateKey, str]
AskState = Callable[[Event], Awaitable[State]]
"""The state before an event, as another server tells of it; every event of it is stored then. Raises MatrixError."""


@dataclass(frozen=True, slots=True)
class _Told:
    """An event of the past, what is made of it, and the state before it."""

    event: Event
    status: int
    before: State


class EarlierHistory:
    """Writes it."""

    def __init__(
        self,
        *,
        db: Database,
        rooms: LiveRooms,
        events: EventStore,
        store: RoomStore,
        graph: EventGraphStore,
        branches: Branches,
        room_import: RoomImport,
    ) -> None:
        self._db = db
        self._rooms = rooms
        self._events = events
        self._store = store
        self._past = PastStateStore(db)
        self._graph = graph
        self._branches = branches
        self._import = room_import

    async def add(self, room: LiveRoom, events: Sequence[Event], ask_state: AskState) -> int:
        """Keep events of before everything that is known of the room, given oldest first; how many were new.

        One call of a room at a time. What nobody has asked for, lacks auth events, or a state, is left out.
        """
        events = await self._wanted(room, events)
        told = await self._judge(room, events, ask_state)
        if not told:
            return 0
        floor = await self._store.list_state_ids_at(room.room_id, FLOOR)
        is_begun = await self._past.is_begun(room.room_id)
        first_keys = None if is_begun else await self._past.list_first_keys(room.room_id)

        async def job(txn: Transaction) -> int:
            here = await self._graph.find_graph_events(room.room_id, [one.event.event_id for one in told])
            placed = {event_id for event_id, one in here.items() if one.status not in WITHOUT_A_PLACE}
            new = [one for one in told if one.event.event_id not in placed]
            if new:
                positions = await self._write_events(txn, room, new, here)
                self._write_log(txn, room.room_id, new, positions, floor, first_keys)
                txn.on_commit(lambda: self._committed(room.room_id))
            return len(new)

        added = await self._db.write(job)
        self._branches.forget([one.event.event_id for one in told])
        return added

    async def judge_again(self, room: LiveRoom, ask_state: AskState) -> None:
        """The states before what was fetched were guessed, and can be asked for now. Where they cannot be had after
        all, the guess stays."""
        known = await self._past.list_events(room.room_id)
        found = await self._events.find_events(room.room_id, room.version, known)
        stored = {one.event_id: one for one in found}
        if not stored:
            return
        told = await self._judge(room, [stored[event_id].event for event_id in known], ask_state)
        if len(told) < len(stored):
            return
        first_keys = await self._past.list_first_keys(room.room_id)

        async def job(txn: Transaction) -> None:
            await self._past.clear(txn, room.room_id)
            positions = [stored[one.event.event_id].position for one in told]
            self._write_log(txn, room.room_id, told, positions, {}, first_keys)
            await self._past.set_statuses(txn, [(one.event.event_id, one.status) for one in told])
            txn.on_commit(lambda: self._committed(room.room_id))

        await self._db.write(job)
        self._branches.forget(stored)

    async def _wanted(self, room: LiveRoom, events: Sequence[Event]) -> list[Event]:
        """Those of the events that have no place yet and that events with a place follow, over others of them."""
        by_id: dict[str, Event] = {event.event_id: event for event in events}
        here = await self._graph.find_graph_events(room.room_id, list(by_id))
        waiting = [event_id for event_id, _ in await self._graph.list_unknown(room.room_id) if event_id in by_id]
        found: set[str] = set()
        while waiting:
            event_id = waiting.pop()
            if event_id not in found:
                found.add(event_id)
                waiting += [one for one in by_id[event_id].prev_events if one in by_id and one not in found]
        return [
            event
            for event in events
            if event.event_id in found
            and (event.event_id not in here or here[event.event_id].status in WITHOUT_A_PLACE)
        ]

    async def _judge(self, room: LiveRoom, events: Sequence[Event], ask_state: AskState) -> list[_Told]:
        wanted = {one for event in events for one in (event.event_id, *_auth_ids(event))}
        known = {
            stored.event_id: (stored.event, stored.status in FOR_GOOD_REJECTED)
            for stored in await self._events.find_events(room.room_id, room.version, list(wanted))
        }
        judged = judge(events, known)
        facts = {event_id: event for event_id, (event, _) in {**known, **judged}.items()}
        after: dict[str, State] = {}
        told: list[_Told] = []
        asked = 0
        for event in events:
            if event.event_id not in judged:
                continue
            before: State | None = None
            if not event.prev_events:
                before = {}
            elif all(one in after for one in event.prev_events):
                before = await self._merged(
                    room, [one.event for one in told], [after[one] for one in event.prev_events]
                )
            if before is None and asked < STATES_MAX:
                asked += 1
                before = await _asked(ask_state, event)
            if before is None:
                continue
            status = REJECTED if judged[event.event_id][1] else ACCEPTED
            if status == ACCEPTED and not await self._allows(room, event, before, facts):
                status = SOFT_FAILED
            told.append(_Told(event, status, before))
            is_change = event.state_key is not None and status == ACCEPTED
            after[event.event_id] = {**before, event.key: event.event_id} if is_change else before
        return told

    async def _merged(self, room: LiveRoom, events: Sequence[Event], states: Sequence[State]) -> State | None:
        """What the states of several predecessors make together; None when that cannot be said."""
        if all(state is states[0] or state == states[0] for state in states):
            return states[0]
        await self._import.keep_outliers(room, events)  # state resolution reads what is stored
        try:
            return await self._branches.resolve(room, states)
        except UnknownEvents:
            return None

    async def _allows(self, room: LiveRoom, event: Event, state: State, facts: dict[str, Event]) -> bool:
        ids = [state[key] for key in (CREATE, *auth_keys_of(event)) if key in state]
        missing = [event_id for event_id in ids if event_id not in facts]
        if missing:
            found = await self._events.find_events(room.room_id, room.version, missing)
            facts.update((stored.event_id, stored.event) for stored in found)
        try:
            check_authorized(event, {facts[one].key: facts[one] for one in ids if one in facts})
        except NotAuthorized:
            return False
        return True

    # ---- writing

    async def _write_events(
        self, txn: Transaction, room: LiveRoom, told: Sequence[_Told], here: Container[str]
    ) -> list[int]:
        """Their places, in the same order. `here`: those that are stored without one."""
        first = await self._events.find_first_position(txn) - len(told)
        positions = [first + number for number in range(len(told))]
        for one, position in zip(told, positions, strict=True):
            event, is_accepted = one.event, one.status == ACCEPTED
            if event.event_id in here:
                await self._events.remove_outlier(txn, event.event_id)
            item = Prepared.of(event)
            self._events.add_event(
                txn,
                StoredEvent(event, position, status=one.status),
                item.text,
                state_group=UNKNOWN_STATE,
                relates_to=item.relates_to if is_accepted else None,
                relation=item.relation if is_accepted else None,
            )
            self._graph.remove_unknown(txn, room.room_id, event.event_id)
        earlier = {one for each in told for one in each.event.prev_events}
        placed = await self._graph.find_graph_events(room.room_id, list(earlier))
        new = {one.event.event_id for one in told}
        for each in told:
            missing = [
                one
                for one in each.event.prev_events
                if one not in new and (one not in placed or placed[one].status in WITHOUT_A_PLACE)
            ]
            self._graph.add_unknown(txn, room.room_id, each.event.event_id, missing)
        return positions

    def _write_log(
        self,
        txn: Transaction,
        room_id: str,
        told: Sequence[_Told],
        positions: Sequence[int],
        floor: State,
        first_keys: set[StateKey] | None,
    ) -> None:
        """Make the log say what the state before each event was: "just after" the place below its own."""
        self._past.set_floor(txn, room_id, floor, told[0].before)
        for number in range(1, len(told)):
            self._past.add_changes(txn, room_id, told[number - 1].before, told[number].before, positions[number] - 1)
        if first_keys is None:
            self._past.add_changes(txn, room_id, told[-1].before, floor, positions[-1])
        else:  # what the log began with before stands as it was, and nothing beside it
            gone = {key: event_id for key, event_id in told[-1].before.items() if key not in first_keys}
            self._past.add_changes(txn, room_id, gone, {}, 0)

    def _committed(self, room_id: str) -> None:
        room = self._rooms.peek(room_id)
        if room is not None:
            room.key_values.clear()


def _auth_ids(event: Event) -> list[str]:
    if event.room_version.room_id_is_create_hash and event.type != "m.room.create":
        return [*event.auth_events, "$" + event.room_id[1:]]
    return list(event.auth_events)


async def _asked(ask_state: AskState, event: Event) -> State | None:
    try:
        return await ask_state(event)
    except MatrixError:
        return None
