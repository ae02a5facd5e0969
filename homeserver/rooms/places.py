"""The state at places of a room's graph, in memory, for events that branch off without saying anything about the state.

Most branches are such: several servers write at once, and nobody changes the room meanwhile. The state before their
events is the room's state, or has long been known, so nothing need be asked or resolved for each of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from homeserver.protocol.events import Event
from homeserver.rooms.live_room import LiveRoom
from homeserver.storage.event_graph import BranchState
from homeserver.storage.rooms import StateKey

KEPT_PLACES: Final = 1_000
NOT_LOADED: Final = object()


class Place:
    """A state of a room, and what is known of it.

    `facts`: the events at the keys that were asked for so far (None: nothing is there). `group`: where it is stored.
    """

    __slots__ = ("facts", "group", "room_id", "state")

    def __init__(self, room_id: str, state: BranchState) -> None:
        self.room_id = room_id
        self.state = state
        self.group = state.group
        self.facts: dict[StateKey, Event | None] = {}

    def find(self, keys: Iterable[StateKey]) -> dict[StateKey, Event] | None:
        """The events at these keys; None when one of them was not loaded."""
        found: dict[StateKey, Event] = {}
        for key in keys:
            event = self.facts.get(key, NOT_LOADED)
            if event is NOT_LOADED:
                return None
            if isinstance(event, Event):
                found[key] = event
        return found


class Places:
    """The states after events that came lately, by event."""

    def __init__(self) -> None:
        self._after: OrderedDict[str, Place] = OrderedDict()
        self._current: OrderedDict[str, Place] = OrderedDict()

    def current(self, room: LiveRoom) -> Place:
        """The room's committed state. While nothing changes in it, the same object."""
        place = self._current.get(room.room_id)
        if place is None or place.state.base != room.state_changed_at:
            place = Place(room.room_id, BranchState(room.state_changed_at))
            self._current[room.room_id] = place
            if len(self._current) > KEPT_PLACES:
                self._current.popitem(last=False)
        return place

    def after(self, room: LiveRoom, event_id: str) -> Place | None:
        """The state after an event, if it is at hand."""
        place = self._after.get(event_id)
        return place if place is not None and place.room_id == room.room_id else None

    def note(self, room: LiveRoom, event_id: str, state: BranchState) -> None:
        """The state after an event, as it is stored."""
        is_current = not state.differences and state.base >= room.state_changed_at
        self.keep(event_id, self.current(room) if is_current else Place(room.room_id, state))

    def keep(self, event_id: str, place: Place) -> None:
        """`place` is the state after an event."""
        self._after[event_id] = place
        self._after.move_to_end(event_id)
        if len(self._after) > KEPT_PLACES:
            self._after.popitem(last=False)

    def forget(self, event_ids: Iterable[str]) -> None:
        """These were drafted, and not committed."""
        for event_id in event_ids:
            self._after.pop(event_id, None)

    def before(self, room: LiveRoom, event: Event) -> Place | None:
        """The state before an event, where that needs no resolution: what it stands on all has the same state."""
        found: Place | None = None
        for event_id in event.prev_events:
            place = self.after(room, event_id)
            if place is None or (found is not None and place is not found):
                return None
            found = place
        return found


def committed(room: LiveRoom, key: StateKey) -> Event | None:
    """The committed state at a key. Raises KeyError when its event is not in memory."""
    if key[0] != "m.room.member":
        stored = room.state_event(*key)
        return None if stored is None else stored.event
    event_id = room.state_ids.get(key)
    if event_id is None:
        return None
    member = room.member_events[key[1]]
    if member.event_id != event_id:
        raise KeyError(key)
    return member.event


def are_same(one: Mapping[StateKey, Event], other: Mapping[StateKey, Event]) -> bool:
    """Whether two states have the same events."""
    return len(one) == len(other) and all(
        (found := other.get(key)) is not None and found.event_id == event.event_id for key, event in one.items()
    )
