"""State resolution of room version 1. Known to reset state, which is why version 2 has another.

Spec: https://spec.matrix.org/latest/rooms/v1/#state-resolution
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1

from homeserver.protocol.authorization import NotAuthorized, check_authorized
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import EventId

# "First we resolve conflicts between m.room.power_levels events. [...] Repeat the above process for conflicts between
# m.room.join_rules events. Repeat the above process for conflicts between m.room.member events."
_AUTH_TYPES = ("m.room.power_levels", "m.room.join_rules", "m.room.member")


def resolve(
    state_sets: Sequence[Mapping[StateKey, EventId]], events: Mapping[EventId, Event]
) -> dict[StateKey, EventId]:
    """The resolution of states that are not all the same."""
    candidates: dict[StateKey, set[EventId]] = {}
    for state_set in state_sets:
        for key, event_id in state_set.items():
            candidates.setdefault(key, set()).add(event_id)
    # "Start by setting R to the union of the states to be resolved, excluding any conflicting events." A conflict is
    # where states have different events for a key; a key that only some of the states have is none.
    resolved = {key: events[next(iter(ids))] for key, ids in candidates.items() if len(ids) == 1}
    conflicts = {key: [events[event_id] for event_id in ids] for key, ids in candidates.items() if len(ids) > 1}
    for event_type in _AUTH_TYPES:
        # What is decided of one key must not sway the next of the same type by the order in which keys come.
        pass_keys = sorted(key for key in conflicts if key[0] == event_type)
        resolved |= {key: _resolve_auth_events(conflicts[key], key, resolved) for key in pass_keys}
    # "No other events affect the authorisation rules."
    others = {key: found for key, found in conflicts.items() if key[0] not in _AUTH_TYPES}
    chosen = {key: _resolve_other_events(found, resolved) for key, found in others.items()}
    resolved |= {key: event for key, event in chosen.items() if event is not None}
    return {key: event.event_id for key, event in resolved.items()}


def _resolve_auth_events(conflicting: Iterable[Event], key: StateKey, resolved: Mapping[StateKey, Event]) -> Event:
    # "Sort the list by ascending depth then descending sha1(event_id)."
    ordered = sorted(conflicting, key=_sha1, reverse=True)
    ordered.sort(key=_depth)
    # "Add the first event in the list to R."
    winner = ordered[0]
    for event in ordered[1:]:
        # "For each subsequent event in the list, check that the event would be allowed by the authorisation rules for
        # a room in state R. If the event would be allowed, then update R with the event and continue with the next
        # event in the list. If it would not be allowed, stop."
        if not _is_allowed(event, {**resolved, key: winner}):
            break
        winner = event
    return winner


def _resolve_other_events(conflicting: Iterable[Event], resolved: Mapping[StateKey, Event]) -> Event | None:
    # "Just pick the event with the highest depth and lowest sha1(event_id) that passes authentication in R."
    ordered = sorted(conflicting, key=_sha1)
    ordered.sort(key=_depth, reverse=True)
    return next((event for event in ordered if _is_allowed(event, resolved)), None)


def _is_allowed(event: Event, state: Mapping[StateKey, Event]) -> bool:
    try:
        check_authorized(event, state)
    except NotAuthorized:
        return False
    return True


def _depth(event: Event) -> int:
    return event.depth


def _sha1(event: Event) -> bytes:
    return sha1(event.event_id.encode(), usedforsecurity=False).digest()
