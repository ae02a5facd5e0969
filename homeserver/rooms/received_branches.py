"""Events of other servers that stand on a branch and say something of the state: judged one by one, resolved together.

What a branch makes of the room's state is worked out once for all of its events that came together, and not once for
each: a branch of a thousand events would else cost a thousand resolutions, each greater than the one before. Nobody can
tell the difference, since they are committed together. An event whose authorisation asks for what an event before it in
the same run has touched is not part of the run, so that the state it is judged by is the room's state indeed; and what
says who may read ends a run, so that it counts from its own place on.

The room is held meanwhile, and what is not plain here either (a rejection, a soft failure, predecessors of different
states) is left to `receiving.py`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from homeserver.protocol.authorization import check_auth_events, check_authorized
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import EventId, domain_of
from homeserver.rooms.branches import Branches
from homeserver.rooms.live_room import MEMBER, Head, LiveRoom, heads_after
from homeserver.rooms.persistence import Prepared
from homeserver.rooms.places import are_same
from homeserver.rooms.received_events import Received, ReceivedEvents
from homeserver.rooms.received_runs import MAX_HEADS, POLICY_KEY, Arrivals, NotPlain, auth_ids_of, keys_of
from homeserver.storage.database import Database, Transaction
from homeserver.storage.event_graph import BranchState
from homeserver.storage.events import ACCEPTED, EventStore, StoredEvent

LONGEST: Final = 100
KEPT_LOGS: Final = 16

_log = logging.getLogger("homeserver.rooms.received_branches")


@dataclass(slots=True)
class _Run:
    """The events so far. `states`: those after events; `touched`: of which entries there is something new."""

    heads: list[Head]
    received: list[Received] = field(default_factory=list)
    events: dict[str, tuple[Event, bool]] = field(default_factory=dict)
    states: dict[str, BranchState] = field(default_factory=dict)
    touched: set[StateKey] = field(default_factory=set)
    only_grows: bool = True
    """Whether each of the events was the next one of a branch."""


class BranchRuns:
    """Receives them. Callers hold the room, and let in one receiver of it at a time."""

    def __init__(
        self,
        *,
        db: Database,
        events: EventStore,
        branches: Branches,
        received_events: ReceivedEvents,
        server_name: str,
    ) -> None:
        self._db = db
        self._events = events
        self._branches = branches
        self._received_events = received_events
        self._server_name = server_name
        self._logs: OrderedDict[tuple[str, int], dict[StateKey, str]] = OrderedDict()

    async def receive(self, room: LiveRoom, arrivals: Arrivals, at: int) -> list[StoredEvent]:
        """The next of the events that came, as far as they are such: stored and in the room. None where the first is
        none."""
        if room.partial is not None or room.state_event(*POLICY_KEY) is not None:
            return []
        coming = arrivals.events[at : at + LONGEST]
        await self._branches.find_events(room, {one for event in coming for one in self._needed_now(room, event)})
        run = _Run([*room.extremities])
        for event in coming:
            try:
                received = await self._judge(room, arrivals, run, event)
            except Exception:  # whatever it is, it is that event's, and comes again when it is the first
                break
            self._take(run, received)
            if self._says_who_may_read(event):
                break
        if not run.received:
            return []
        try:
            await self._resolve(room, run)
            written = await self._db.write(lambda txn: self._write(txn, room, run))
        except Exception as error:
            _log.warning("Events of a branch of %s cannot be taken together: %s", room.room_id, error)
            arrivals.one_by_one = True
            return []
        arrivals.drafted.update(run.events)
        return written

    def _needed_now(self, room: LiveRoom, event: Event) -> list[str]:
        return [*auth_ids_of(event), *(one for key in keys_of(event) if (one := room.state_ids.get(key)) is not None)]

    async def _judge(self, room: LiveRoom, arrivals: Arrivals, run: _Run, event: Event) -> Received:
        """Steps 4 to 6 of the checks. Raises NotPlain, NotAuthorized, UnknownEvents, TooLarge."""
        event_id, keys = event.event_id, keys_of(event)
        if event_id in arrivals.known or event_id in arrivals.redacted or event_id in arrivals.drafted:
            raise NotPlain
        if event_id in run.events or (arrivals.one_by_one and run.events):
            raise NotPlain
        if event.type == "m.room.redaction" or not event.prev_events or not run.touched.isdisjoint(keys):
            raise NotPlain
        by_auth_events = await self._state_by_auth_events(room, run, event)
        check_authorized(event, by_auth_events)
        before = await self._state_before(room, run, event)
        state = await self._facts(room, run, {key: await self._entry(room, before, key) for key in keys})
        if not are_same(state, by_auth_events):
            check_authorized(event, state)
        current = await self._facts(room, run, {key: room.state_ids.get(key) for key in keys})
        if not are_same(current, by_auth_events):
            check_authorized(event, current)
        heads = heads_after(run.heads, event)
        if len(heads) > MAX_HEADS:
            raise NotPlain
        return Received(Prepared.of(event), ACCEPTED, before, heads)

    def _take(self, run: _Run, received: Received) -> None:
        event = received.prepared.event
        grows = len(event.prev_events) == 1 and any(head.event_id == event.prev_events[0] for head in run.heads)
        run.only_grows = run.only_grows and grows
        run.received.append(received)
        run.heads = received.heads
        run.events[event.event_id] = (event, False)
        after = received.before
        if event.state_key is not None:
            after = after.plus(event.key, event.event_id)
            run.touched.add(event.key)
        run.states[event.event_id] = after

    def _says_who_may_read(self, event: Event) -> bool:
        if event.state_key is None:
            return False
        if event.type == MEMBER:
            return domain_of(event.state_key) == self._server_name
        return event.type == "m.room.history_visibility"

    async def _state_by_auth_events(self, room: LiveRoom, run: _Run, event: Event) -> dict[StateKey, Event]:
        wanted = auth_ids_of(event)
        found = await self._find(room, run, wanted)
        if any(event_id not in found for event_id in wanted):
            raise NotPlain
        auth = {EventId(event_id): auth_event for event_id, (auth_event, _) in found.items()}
        return check_auth_events(event, auth, lambda event_id: found[str(event_id)][1])

    async def _state_before(self, room: LiveRoom, run: _Run, event: Event) -> BranchState:
        for event_id in event.prev_events:
            if event_id not in run.states:
                (run.states[event_id],) = await self._branches.after(room, [event_id])
        first, *others = (run.states[event_id] for event_id in event.prev_events)
        if any(other is not first and other != first for other in others):
            raise NotPlain
        return first

    async def _entry(self, room: LiveRoom, state: BranchState, key: StateKey) -> str | None:
        if key in state.differences:
            return state.differences[key]
        if state.base >= room.state_changed_at:
            return room.state_ids.get(key)
        log = self._logs.get((room.room_id, state.base))
        if log is None:
            log = self._logs[room.room_id, state.base] = await self._branches.whole(room, BranchState(state.base))
            if len(self._logs) > KEPT_LOGS:
                self._logs.popitem(last=False)
        return log.get(key)

    async def _facts(self, room: LiveRoom, run: _Run, ids: Mapping[StateKey, str | None]) -> dict[StateKey, Event]:
        found = await self._find(room, run, [one for one in ids.values() if one is not None])
        return {key: found[one][0] for key, one in ids.items() if one is not None}

    async def _find(self, room: LiveRoom, run: _Run, event_ids: list[str]) -> dict[str, tuple[Event, bool]]:
        found = {one: run.events[one] for one in event_ids if one in run.events}
        found.update(await self._branches.find_events(room, [one for one in event_ids if one not in found]))
        return found

    async def _resolve(self, room: LiveRoom, run: _Run) -> None:
        """What all of them make of the room's state; the last one brings it."""
        replaced = {
            one
            for received in run.received
            if received.prepared.event.state_key is not None
            and (one := room.state_ids.get(received.prepared.event.key)) is not None
        }
        found = await self._events.find_events(room.room_id, room.version, list(replaced))
        by_key = {stored.event.key: stored.event for stored in found}
        for received in run.received:
            event = received.prepared.event
            received.prepared.replaces = None if event.state_key is None else by_key.get(event.key)
        if run.only_grows and not run.touched:
            return
        states: list[BranchState] = []
        for head in run.heads:
            if head.event_id not in run.states:
                (run.states[head.event_id],) = await self._branches.after(room, [head.event_id])
            states.append(run.states[head.event_id])
        new = [event for event, _ in run.events.values()]
        _, current = await self._branches.merged(room, states, new)
        last = run.received[-1]
        last.changes = {key: event_id for key, event_id in current.items() if room.state_ids.get(key) != event_id}
        last.changes.update((key, None) for key in room.state_ids if key not in current)
        stored_ids = [one for one in last.changes.values() if one is not None and one not in run.events]
        found = await self._events.find_events(room.room_id, room.version, stored_ids)
        last.changed_to = {stored.event_id: stored for stored in found}

    async def _write(self, txn: Transaction, room: LiveRoom, run: _Run) -> list[StoredEvent]:
        written: list[StoredEvent] = []
        groups: dict[int, int] = {}
        for received in run.received:
            if received is run.received[-1]:
                received.changed_to.update((stored.event_id, stored) for stored in written)
            written.append(await self._received_events.write(txn, room, received, groups))
        return written
