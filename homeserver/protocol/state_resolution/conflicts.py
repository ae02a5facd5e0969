"""What is in conflict: which entries, which auth chains, and what lies between conflicting events.

Spec: "Definitions" of https://spec.matrix.org/latest/rooms/v2/#state-resolution, for the conflicted state subgraph of
https://spec.matrix.org/latest/rooms/v12/#state-resolution
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import EventId

StateSet = Mapping[StateKey, EventId]


def separate(state_sets: Sequence[StateSet]) -> tuple[dict[StateKey, EventId], set[EventId]]:
    """The unconflicted state map and the conflicted state set.

    "If a given key K is present in every S_i with the same value V in each state map, then the pair (K, V) belongs to
    the unconflicted state map. Otherwise, V belongs to the conflicted state set."
    """
    first = state_sets[0]
    unconflicted = {
        key: event_id
        for key, event_id in first.items()
        if all(state_set.get(key) == event_id for state_set in state_sets)
    }
    conflicted = {
        event_id for state_set in state_sets for key, event_id in state_set.items() if key not in unconflicted
    }
    return unconflicted, conflicted


def auth_order(events: Mapping[EventId, Event], start: Iterable[EventId]) -> list[EventId]:
    """The given events and everything in their auth chains, every event after its auth events."""
    order: list[EventId] = []
    seen: set[EventId] = set()
    for root in start:
        if root in seen:
            continue
        seen.add(root)
        path = [(root, iter(events[root].auth_events))]
        while path:
            event_id, rest = path[-1]
            for auth_id in rest:
                if auth_id not in seen:
                    seen.add(auth_id)
                    path.append((auth_id, iter(events[auth_id].auth_events)))
                    break
            else:
                order.append(event_id)
                path.pop()
    return order


def auth_difference(state_sets: Sequence[StateSet], events: Mapping[EventId, Event]) -> set[EventId]:
    """The auth difference.

    "[...] first calculating the full auth chain for each state S_i, that is the union of the auth chains for each event
    in S_i, and then taking every event that doesn't appear in every auth chain." An event is not in its own auth chain.
    """
    # One bit for each state: in `members`, those that hold the event; in `chains`, those whose auth chains do.
    members: dict[EventId, int] = {}
    for number, state_set in enumerate(state_sets):
        for event_id in state_set.values():
            members[event_id] = members.get(event_id, 0) | (1 << number)
    chains: dict[EventId, int] = {}
    for event_id in reversed(auth_order(events, members)):
        states = members.get(event_id, 0) | chains.get(event_id, 0)
        for auth_id in events[event_id].auth_events:
            chains[auth_id] = chains.get(auth_id, 0) | states
    every = (1 << len(state_sets)) - 1
    return {event_id for event_id, states in chains.items() if states != every}


def differing(state_sets: Sequence[StateSet], unconflicted: StateSet) -> list[StateSet]:
    """What is in conflict of each state."""
    return [
        {key: event_id for key, event_id in state_set.items() if key not in unconflicted} for state_set in state_sets
    ]


def beneath(wanted: Collection[EventId], roots: Iterable[EventId], events: Mapping[EventId, Event]) -> set[EventId]:
    """Those of `wanted` that are in the auth chain of one of `roots`."""
    found: set[EventId] = set()
    waiting = list(roots)
    seen = set(waiting)
    while waiting and len(found) < len(wanted):
        for auth_id in events[waiting.pop()].auth_events:
            if auth_id in wanted:
                found.add(auth_id)
            if auth_id not in seen:
                seen.add(auth_id)
                waiting.append(auth_id)
    return found


def conflicted_subgraph(conflicted: Collection[EventId], events: Mapping[EventId, Event]) -> set[EventId]:
    """The conflicted state subgraph (v2.1).

    "Starting from an event in the conflicted state set and following auth_events edges may lead to another event in the
    conflicted state set. The union of all such paths between any pair of events in the conflicted state set (including
    endpoints) forms a subgraph of the original auth_event graph."
    """
    between: set[EventId] = set()
    # All of these are reached from a conflicted event; kept are those that lead to one.
    for event_id in auth_order(events, conflicted):
        if event_id in conflicted or any(auth_id in between for auth_id in events[event_id].auth_events):
            between.add(event_id)
    return between
