"""Events that were judged by a part of a room's state, judged by all of it; in memory, with nothing written.

States are told by their differences from the whole state before the join. First, by their predecessors alone: the state
before and after each event, and whether the event is allowed by it ("rejected" does not depend on anything else).
Second, in the order of the timeline: whether each was allowed by the current state of its moment ("soft failed"), and
what the current state became.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from homeserver.protocol.authorization import NotAuthorized, auth_keys_of, check_authorized
from homeserver.protocol.events import Event
from homeserver.rooms.branches import Branches
from homeserver.rooms.live_room import Head, LiveRoom, heads_after
from homeserver.rooms.received_alone import CREATE, POWER_LEVELS
from homeserver.rooms.received_runs import MAX_HEADS
from homeserver.storage.events import ACCEPTED, REJECTED, SOFT_FAILED, WITHOUT_A_PLACE, EventStore, StoredEvent
from homeserver.storage.rooms import StateKey

Differences = Mapping[StateKey, str | None]

AT_ONCE = 50
"""After so many events, others have their turn."""


@dataclass(slots=True)
class JudgedAgain:
    """An event with a place, as the whole state has it.

    `follows_log`: the state before and after it is that of the room's log at its position. `replaces`: the id of the
    state event whose place it took. `group`: where the state before it is stored, where it has to be.
    """

    stored: StoredEvent
    status: int
    before: Differences
    follows_log: bool
    replaces: str | None
    group: int | None = None


class JudgingAgain:
    """Works on one room, which its caller holds."""

    def __init__(
        self,
        room: LiveRoom,
        branches: Branches,
        events: EventStore,
        base: Mapping[StateKey, str],
        join_event_id: str,
        states_before: Mapping[str, Mapping[StateKey, str]],
    ) -> None:
        self._room = room
        self._branches = branches
        self._events = events
        self._base = base
        self._join_event_id = join_event_id
        self._states_before = states_before
        self._known: dict[str, Event] = {}
        self._after: dict[str, Differences] = {}
        self._join_prevs: frozenset[str] = frozenset()
        self._followed: set[str] = set()
        self.current: Differences = {}
        self.heads: list[Head] = []
        self.log: list[tuple[int, StateKey, str | None]] = []

    def know(self, events: Iterable[Event]) -> None:
        """Events that will be asked for."""
        self._known.update((event.event_id, event) for event in events)

    async def judge(self, events: Sequence[StoredEvent]) -> list[JudgedAgain]:
        """`events`: those of this stay in the order in which they came. The result has those with a place."""
        self.know(stored.event for stored in events)
        join = self._known.get(self._join_event_id)
        self._join_prevs = frozenset(() if join is None else join.prev_events)
        before: dict[str, Differences] = {}
        rejected: set[str] = set()
        for index, stored in enumerate(_by_predecessors(events)):
            event = stored.event
            state = before[event.event_id] = await self._before(event)
            if stored.status == REJECTED or not await self._is_allowed(event, state):
                rejected.add(event.event_id)
                self._after[event.event_id] = state
            else:
                self._after[event.event_id] = _plus(state, event)
            if index % AT_ONCE == 0:
                await asyncio.sleep(0)
        judged: list[JudgedAgain] = []
        for index, stored in enumerate(events):
            if stored.status not in WITHOUT_A_PLACE:
                is_rejected = stored.event_id in rejected
                judged.append(await self._in_timeline(stored, before[stored.event_id], is_rejected=is_rejected))
            if index % AT_ONCE == 0:
                await asyncio.sleep(0)
        return judged

    # ---- by its predecessors

    async def _before(self, event: Event) -> Differences:
        states = [self._after[one] for one in event.prev_events if one in self._after]
        if len(states) < len(event.prev_events):
            claimed = self._states_before.get(event.event_id)
            if frozenset(event.prev_events) == self._join_prevs:
                return {}
            if claimed is not None:
                states.append(self._differences(claimed))
            elif not states:
                return {}  # nobody tells; it is as old as the join, at most
        elif not states:
            return {}
        return await self._merged(states)

    async def _merged(self, states: Sequence[Differences]) -> Differences:
        if all(state == states[0] for state in states):
            return states[0]
        return self._differences(await self._branches.resolve(self._room, [self._whole(one) for one in states]))

    def _whole(self, state: Differences) -> dict[StateKey, str]:
        whole = dict(self._base)
        for key, event_id in state.items():
            if event_id is None:
                whole.pop(key, None)
            else:
                whole[key] = event_id
        return whole

    def _differences(self, whole: Mapping[StateKey, str]) -> Differences:
        found: dict[StateKey, str | None] = {
            key: event_id for key, event_id in whole.items() if self._base.get(key) != event_id
        }
        found.update((key, None) for key in self._base if key not in whole)
        return found

    def _entry(self, state: Differences, key: StateKey) -> str | None:
        return state[key] if key in state else self._base.get(key)

    async def _is_allowed(self, event: Event, state: Differences) -> bool:
        keys = {CREATE, POWER_LEVELS, *auth_keys_of(event)}
        ids = [event_id for key in keys if (event_id := self._entry(state, key)) is not None]
        missing = [event_id for event_id in ids if event_id not in self._known]
        if missing:
            found = await self._events.find_events(self._room.room_id, self._room.version, missing)
            self.know(stored.event for stored in found)
        facts = {self._known[one].key: self._known[one] for one in ids if one in self._known}
        try:
            check_authorized(event, facts)
        except NotAuthorized:
            return False
        return True

    # ---- in the timeline

    async def _in_timeline(self, stored: StoredEvent, before: Differences, *, is_rejected: bool) -> JudgedAgain:
        event = stored.event
        follows = before == self.current
        if is_rejected:
            return JudgedAgain(stored, REJECTED, before, follows, None)
        # What was soft failed was so for another reason than the state: such events wait.
        if stored.status == SOFT_FAILED or not await self._is_allowed(event, self.current):
            return JudgedAgain(stored, SOFT_FAILED, before, follows_log=False, replaces=None)
        replaces = None if event.state_key is None else self._entry(self.current, event.key)
        is_followed = event.event_id in self._followed
        self._followed.update(event.prev_events)
        if is_followed:  # it came after one that stands on it, which has said all that it says
            return JudgedAgain(stored, ACCEPTED, before, follows_log=False, replaces=replaces)
        others = [head for head in self.heads if head.event_id not in event.prev_events]
        grown = event.state_key is None and len(event.prev_events) == 1 and len(others) == len(self.heads) - 1
        heads = heads_after(self.heads, event)
        after = self._after[event.event_id]
        if len(heads) > MAX_HEADS and len(heads) > len(self.heads):  # as in `received_alone.py`
            return JudgedAgain(stored, ACCEPTED, before, follows and self.current == after, replaces)
        self.heads = heads
        if not others:
            self._become(after, stored.position)
        elif not grown:
            states = [after, *(self._after[head.event_id] for head in others)]
            self._become(await self._merged(states), stored.position)
        return JudgedAgain(stored, ACCEPTED, before, follows and self.current == after, replaces)

    def _become(self, state: Differences, position: int) -> None:
        """The current state is another one from a position on."""
        if state is self.current:
            return
        for key in {**self.current, **state}:
            event_id = self._entry(state, key)
            if event_id != self._entry(self.current, key):
                self.log.append((position, key, event_id))
        self.current = state


def _by_predecessors(events: Sequence[StoredEvent]) -> list[StoredEvent]:
    """Events such that each comes after those that it stands on, else in the order given."""
    by_id = {stored.event_id: stored for stored in events}
    ordered: dict[str, StoredEvent] = {}
    for root in events:
        path = [root]
        on_path = {root.event_id}
        while path:
            stored = path[-1]
            before = next(
                (one for one in stored.event.prev_events if one in by_id and one not in ordered and one not in on_path),
                None,
            )
            if before is None:
                path.pop()
                ordered.setdefault(stored.event_id, stored)
            else:
                path.append(by_id[before])
                on_path.add(before)
    return list(ordered.values())


def _plus(state: Differences, event: Event) -> Differences:
    return state if event.state_key is None else {**state, event.key: event.event_id}
