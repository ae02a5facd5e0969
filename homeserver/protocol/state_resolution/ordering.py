"""The two orders of version 2: power events by reverse topological power ordering, the rest by mainline ordering.

Spec: "Definitions" of https://spec.matrix.org/latest/rooms/v2/#state-resolution
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Mapping

from homeserver.protocol.authorization_facts import CREATE, POWER_LEVELS
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import EventId
from homeserver.protocol.power_levels import Level, power_levels_of


def auth_event_for(event: Event, key: StateKey, events: Mapping[EventId, Event]) -> Event | None:
    """The event among the `auth_events` of an event that is about this entry of the state.

    Since v12 the create event is not listed, but named by the room id.
    """
    if key == CREATE and not event.room_version.create_in_auth_events:
        return events.get(EventId("$" + event.room_id[1:]))
    for auth_id in event.auth_events:
        auth_event = events[auth_id]
        if auth_event.type == key[0] and auth_event.state_key == key[1]:
            return auth_event
    return None


def _sender_power(event: Event, events: Mapping[EventId, Event]) -> Level:
    """The power level of the sender "when looking at their respective auth_events"."""
    create = auth_event_for(event, CREATE, events)
    return power_levels_of(create, auth_event_for(event, POWER_LEVELS, events)).of(event.sender)


def reverse_topological_power_order(chosen: Collection[EventId], events: Mapping[EventId, Event]) -> list[EventId]:
    """The lexicographically smallest topological ordering of the events, by the DAG of their auth events.

    "Using Kahn's algorithm for topological sorting, and at each step selecting, among all the candidate vertices, the
    smallest vertex": the one of the sender with the greatest power, then the earliest, then that with the smallest id.
    """
    waiting: dict[EventId, int] = {}
    needed_by: dict[EventId, list[EventId]] = {}
    candidates: list[tuple[Level, int, EventId]] = []

    def candidate(event_id: EventId) -> tuple[Level, int, EventId]:
        event = events[event_id]
        return -_sender_power(event, events), event.origin_server_ts, event_id

    for event_id in chosen:
        needs = {auth_id for auth_id in events[event_id].auth_events if auth_id in chosen}
        waiting[event_id] = len(needs)
        for auth_id in needs:
            needed_by.setdefault(auth_id, []).append(event_id)
        if not needs:
            candidates.append(candidate(event_id))
    heapq.heapify(candidates)
    order: list[EventId] = []
    while candidates:
        event_id = heapq.heappop(candidates)[2]
        order.append(event_id)
        for child in needed_by.get(event_id, ()):
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(candidates, candidate(child))
    return order


def mainline_order(
    chosen: Collection[EventId], power_levels: EventId | None, events: Mapping[EventId, Event]
) -> list[EventId]:
    """The mainline ordering, based on a power levels event, of some events.

    "x < y if 1. the mainline position of x is greater than the mainline position of y (i.e. the auth chain of x is
    based on an earlier event in the mainline than y)", 2. x is earlier, or 3. its id is less. Without power levels
    nothing has a position.
    """
    positions: dict[EventId, float] = {}
    current = None if power_levels is None else events[power_levels]
    while current is not None and current.event_id not in positions:
        positions[current.event_id] = len(positions)
        current = auth_event_for(current, POWER_LEVELS, events)

    def position(event: Event) -> float:
        """ "Find the smallest index j ≥ 1 for which e_j belongs to the mainline of P." Infinite if there is none."""
        walked: list[EventId] = []
        step = auth_event_for(event, POWER_LEVELS, events)
        while step is not None and step.event_id not in positions:
            positions[step.event_id] = math.inf  # For now, and lest a loop in the auth events never end.
            walked.append(step.event_id)
            step = auth_event_for(step, POWER_LEVELS, events)
        found = math.inf if step is None else positions[step.event_id]
        positions.update(dict.fromkeys(walked, found))
        return found

    def key(event_id: EventId) -> tuple[float, int, EventId]:
        event = events[event_id]
        return -position(event), event.origin_server_ts, event_id

    return sorted(chosen, key=key)
