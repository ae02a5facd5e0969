"""State resolution: one state out of the states of several branches, the same on every server that sees them.

Theory of operation. Where all states agree there is nothing to decide. Where they differ, the events in question are
put into an order in which what takes power away comes first, and applied one by one by the rules of authorisation.

    v1     room version 1: by depth and hash, power levels first (`v1.py`)
    v2     room versions 2 to 11: power events in reverse topological power order, the rest along the mainline (`v2.py`)
    v2.1   room version 12: as v2, but nothing is believed to start with, and the conflict takes in what lies between
           conflicting events, so that old state cannot win again ("state reset", known attack A01)

Everything is iterative, and nothing depends on the order of the states or of the events given.

Spec: "State resolution" of room versions 1, 2 and 12.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from homeserver.protocol.authorization import auth_keys_of
from homeserver.protocol.authorization_facts import CREATE, POWER_LEVELS
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import EventId
from homeserver.protocol.room_versions import RoomVersion
from homeserver.protocol.state_resolution import v1, v2
from homeserver.protocol.state_resolution.conflicts import auth_difference, differing, separate

__all__ = ["auth_difference", "differing", "needed_keys", "resolve", "separate"]


def resolve(
    version: RoomVersion,
    state_sets: Sequence[Mapping[StateKey, EventId]],
    events: Mapping[EventId, Event],
    *,
    rejected: Collection[EventId] = frozenset(),
    shared: Collection[EventId] | None = None,
) -> dict[StateKey, EventId]:
    """The resolution of a set of states.

    `state_sets`: the states after each of an event's `prev_events` (or at each forward extremity). `events`: every
    event in them and in their auth chains, and since v12 the create event, by id; what is missing is a mistake of the
    caller and raises KeyError. `rejected`: those of the events that failed authorisation; they are not used to
    authorise others.

    `shared`: for callers that do not bring every event (not in room version 1): those in the `auth_difference` of what
    is `differing` that the rest of the state stands on. Then `events` holds what is in conflict, and of the rest what
    `needed_keys` names, all with their auth chains.
    """
    first, *others = state_sets or [{}]
    if all(other == first for other in others):
        return dict(first)
    if version.state_resolution == "v1":
        return v1.resolve(state_sets, events)
    revised = version.state_resolution == "v2.1"
    return v2.resolve(state_sets, events, frozenset(rejected), revised=revised, shared=shared)


def needed_keys(events: Iterable[Event]) -> set[StateKey]:
    """The entries of the state that nobody disputes which are asked for when these events are judged."""
    return {CREATE, POWER_LEVELS, *(key for event in events for key in auth_keys_of(event))}
