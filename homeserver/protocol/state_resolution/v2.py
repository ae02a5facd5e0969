"""State resolution of room versions 2 to 11 (v2) and of version 12 (v2.1, here `revised`).

Spec: https://spec.matrix.org/latest/rooms/v2/#state-resolution and
https://spec.matrix.org/latest/rooms/v12/#state-resolution
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from homeserver.protocol.authorization import NotAuthorized, auth_keys_of, check_authorized
from homeserver.protocol.authorization_facts import CREATE, POWER_LEVELS
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import EventId
from homeserver.protocol.state_resolution.conflicts import (
    auth_difference,
    auth_order,
    beneath,
    conflicted_subgraph,
    differing,
    separate,
)
from homeserver.protocol.state_resolution.ordering import (
    auth_event_for,
    mainline_order,
    reverse_topological_power_order,
)


def resolve(
    state_sets: Sequence[Mapping[StateKey, EventId]],
    events: Mapping[EventId, Event],
    rejected: Collection[EventId],
    *,
    revised: bool,
    shared: Collection[EventId] | None = None,
) -> dict[StateKey, EventId]:
    """The resolution of states that are not all the same."""
    unconflicted, conflicted = separate(state_sets)
    # "The full conflicted set is the union of the conflicted state set and the auth difference"; since v2.1 "the union
    # of the conflicted state set, the conflicted state subgraph, and the auth difference". What the unconflicted state
    # stands on is in every auth chain. So all others are found in the chains of what is in conflict.
    difference = auth_difference(differing(state_sets, unconflicted), events)
    difference -= beneath(difference, unconflicted.values(), events) if shared is None else set(shared)
    full_conflicted = conflicted | difference
    if revised:
        full_conflicted |= conflicted_subgraph(conflicted, events)
    # 1. "Select the set X of all power events that appear in the full conflicted set. For each such power event P,
    # enlarge X by adding the events in the auth chain of P which also belong to the full conflicted set. Sort X into a
    # list using the reverse topological power ordering."
    power_events = [event_id for event_id in full_conflicted if is_power_event(events[event_id])]
    chosen = full_conflicted.intersection(auth_order(events, power_events))
    # 2. "Apply the iterative auth checks algorithm, starting from the unconflicted state map, to the list of events
    # from the previous step to get a partially resolved state." Since v2.1: "starting from an empty state map".
    # Of that map, only what the rules may ask for is looked at.
    asked = {CREATE, POWER_LEVELS, *(key for event_id in full_conflicted for key in auth_keys_of(events[event_id]))}
    start = {} if revised else {key: events[unconflicted[key]] for key in asked if key in unconflicted}
    state = _checked(start, reverse_topological_power_order(chosen, events), events, rejected)
    # 3. "Take all remaining events that weren't picked in step 1 and order them by the mainline ordering based on the
    # power level in the partially resolved state obtained in step 2."
    levels = state.get(POWER_LEVELS)
    rest = mainline_order(full_conflicted - chosen, None if levels is None else levels.event_id, events)
    # 4. "Apply the iterative auth checks algorithm on the partial resolved state and the list of events from the
    # previous step."
    state = _checked(state, rest, events, rejected)
    # 5. "Update the result by replacing any event with the event with the same key from the unconflicted state map."
    return {key: event.event_id for key, event in state.items()} | unconflicted


def is_power_event(event: Event) -> bool:
    """ "A power event is a state event with type m.room.power_levels or m.room.join_rules, or a state event with type
    m.room.member where the membership is leave or ban and the sender does not match the state_key." """
    if event.state_key is None:
        return False
    if event.type == "m.room.member":
        return event.content.get("membership") in ("leave", "ban") and event.sender != event.state_key
    return event.type in ("m.room.power_levels", "m.room.join_rules")


def _checked(
    state: Mapping[StateKey, Event],
    ordered: Iterable[EventId],
    events: Mapping[EventId, Event],
    rejected: Collection[EventId],
) -> dict[StateKey, Event]:
    """The iterative auth checks: the state with each event applied to it that the state then allows.

    "If a (event_type, state_key) key that is required for checking the authorisation rules is not present in the state,
    then the appropriate state event from the event's auth_events is used if the auth event is not rejected."
    """
    resolved = dict(state)
    for event_id in ordered:
        event = events[event_id]
        if event.state_key is None:
            continue
        facts: dict[StateKey, Event] = {}
        # The create event is needed in every version, also where it is not among the auth events.
        for key in (CREATE, *auth_keys_of(event)):
            fact = resolved.get(key)
            if fact is None:
                fact = auth_event_for(event, key, events)
                if fact is not None and fact.event_id in rejected:
                    fact = None
            if fact is not None:
                facts[key] = fact
        try:
            check_authorized(event, facts)
        except NotAuthorized:
            continue
        resolved[event.key] = event
    return resolved
