"""Events of other servers that can be judged without waiting, one after the other, and are written together.

Nearly all are such: they stand on the room's newest events, or on a branch that says nothing new about the state, and
what the rules ask of is in memory. A transaction of fifty messages is so one look into the database and one commit.
Every check is made of every event, in the spec's order; whatever is not plain (a rejection, a soft failure, a
redaction, state on a branch) is left to `receiving.py`, which takes its time and the room for itself.

No event is drafted across an `await`: whoever else writes in the room stands on all of a run, or on nothing of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from homeserver.protocol.authorization import NotAuthorized, auth_keys_of, check_auth_events, check_authorized
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.identifiers import EventId
from homeserver.rooms.branches import Branches, UnknownEvents
from homeserver.rooms.live_room import MEMBER, LiveRoom, LiveRooms
from homeserver.rooms.persistence import Prepared
from homeserver.rooms.places import Place, Places, are_same, committed
from homeserver.rooms.policy_servers import POLICY
from homeserver.storage.event_graph import EventGraphStore, GraphEvent
from homeserver.storage.events import EventStore
from homeserver.storage.rooms import RoomStore

MAX_HEADS: Final = 50
CREATE: Final = ("m.room.create", "")
POLICY_KEY: Final = (POLICY, "")


class NotAtHand(Exception):
    """Something that an event is judged by is not in memory."""


class NotPlain(Exception):
    """The event needs the room for itself."""


@dataclass(slots=True)
class Arrivals:
    """Events of one room that came together, and what the database says of them."""

    events: Sequence[Event]
    known: dict[str, GraphEvent]
    redacted: set[str]
    """Those that redactions wait for."""
    auth: dict[str, tuple[Event, bool]]
    """Auth events, each with whether it was rejected."""
    looked_up: set[str] = field(default_factory=set)
    """Events for which everything that there is was looked up once more."""
    drafted: set[str] = field(default_factory=set)
    one_by_one: bool = False
    """A run could not be written; so that one event alone is to blame, each is a run of its own from now on."""


class Runs:
    """Drafts them. Callers let in one receiver of a room at a time."""

    def __init__(
        self, *, rooms: LiveRooms, events: EventStore, graph: EventGraphStore, store: RoomStore, branches: Branches
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._graph = graph
        self._store = store
        self._branches = branches
        self._places = Places()

    async def gather(self, room: LiveRoom, events: Sequence[Event]) -> Arrivals:
        """What is known of events that came."""
        ids = [event.event_id for event in events]
        known = await self._graph.find_graph_events(room.room_id, ids)
        redacted = await self._graph.list_awaited_by_redactions(room.room_id, ids)
        auth_ids = {event_id for event in events for event_id in auth_ids_of(event)}
        auth = await self._branches.find_events(room, auth_ids)
        users = {key[1] for event in events for key in keys_of(event) if key[0] == MEMBER}
        await self._rooms.load_member_events(room, users)
        return Arrivals(events, known, redacted, auth)

    async def note_redaction(self, room: LiveRoom, arrivals: Arrivals) -> None:
        """A redaction was received, and perhaps before what it redacts."""
        ids = [event.event_id for event in arrivals.events]
        arrivals.redacted = await self._graph.list_awaited_by_redactions(room.room_id, ids)

    async def look_up(self, room: LiveRoom, arrivals: Arrivals, event: Event) -> bool:
        """Bring what the event is judged by into memory; False if that was done before, and did not help.

        Raises UnknownEvents when its predecessors or auth events are not here.
        """
        if event.event_id in arrivals.looked_up:
            return False
        arrivals.looked_up.add(event.event_id)
        auth = await self._branches.find_events(room, auth_ids_of(event))
        if len(auth) < len(set(auth_ids_of(event))):
            raise UnknownEvents(set(auth_ids_of(event)) - auth.keys())
        arrivals.auth.update(auth)
        await self._rooms.load_member_events(room, {key[1] for key in keys_of(event) if key[0] == MEMBER})
        if {head.event_id for head in room.extremities} == set(event.prev_events):
            return True
        missing = [one for one in event.prev_events if self._places.after(room, one) is None]
        for event_id, state in zip(missing, await self._branches.after(room, missing), strict=True):
            self._places.note(room, event_id, state)
        for head in room.extremities:
            if self._places.after(room, head.event_id) is None:
                with contextlib.suppress(UnknownEvents):  # it is on its way to the database
                    (state,) = await self._branches.after(room, [head.event_id])
                    self._places.note(room, head.event_id, state)
        place = self._places.before(room, event)
        if place is not None:
            await self._load_facts(room, place, keys_of(event))
        return True

    async def _load_facts(self, room: LiveRoom, place: Place, keys: Sequence[StateKey]) -> None:
        wanted = [key for key in keys if key not in place.facts]
        differences = place.state.differences
        of_log = [key for key in wanted if key not in differences]
        ids: dict[StateKey, str | None] = dict(
            await self._store.list_state_ids_at(room.room_id, place.state.base, keys=of_log)
        )
        ids.update((key, differences[key]) for key in wanted if key in differences)
        events = await self._branches.find_events(room, {one for one in ids.values() if one is not None})
        place.facts.update((key, None if (one := ids.get(key)) is None else events[one][0]) for key in wanted)

    def draft(self, room: LiveRoom, arrivals: Arrivals, event: Event) -> Prepared:
        """Judge an event, put it on the room's graph, and give what is to be written.

        Raises NotAtHand, NotPlain (it is neither drafted then), TooLarge.
        """
        event_id = event.event_id
        if event_id in arrivals.known or event_id in arrivals.drafted or event_id in arrivals.redacted:
            raise NotPlain
        if event.type == "m.room.redaction":
            raise NotPlain
        if room.is_held or room.partial is not None or room.state_event(*POLICY_KEY) is not None:
            raise NotPlain
        by_auth_events = self._state_by_auth_events(room, arrivals, event)
        _check(event, by_auth_events)
        keys = keys_of(event)
        try:
            now = {key: found for key in keys if (found := room.draft_state(key)) is not None}
            replaces = None if event.state_key is None else room.draft_state(event.key)
        except KeyError:
            raise NotAtHand from None
        place: Place | None = None
        if {head.event_id for head in room.extremities} != set(event.prev_events):
            place = self._place_of_branch(room, event)
            self._check_says_nothing_new(room, place)
            before = self._facts_at(room, place, keys)
            if not are_same(before, by_auth_events):
                _check(event, before)
        if not are_same(now, by_auth_events):
            _check(event, now)
        prepared = Prepared.of(event, None, replaces, place=place)
        room.note_drafted(event)
        arrivals.drafted.add(event_id)
        prepared.heads = room.extremities
        if event.state_key is None and (place is not None or not room.overlay):
            self._places.keep(event_id, place or self._places.current(room))
        return prepared

    def take_back(self, arrivals: Arrivals, drafted: Sequence[Prepared]) -> None:
        """What was drafted could not be committed: nobody may stand on it."""
        ids = [item.event.event_id for item in drafted]
        arrivals.drafted.difference_update(ids)
        self._places.forget(ids)

    def _state_by_auth_events(self, room: LiveRoom, arrivals: Arrivals, event: Event) -> dict[StateKey, Event]:
        found: dict[EventId, Event] = {}
        rejected: set[str] = set()
        drafted = {one.event_id: one for key in keys_of(event) if (one := room.overlay.get(key)) is not None}
        for event_id in auth_ids_of(event):
            known = arrivals.auth.get(event_id)
            if known is None:
                if event_id not in drafted:
                    raise NotAtHand
                known = drafted[EventId(event_id)], False
            found[EventId(event_id)] = known[0]
            if known[1]:
                rejected.add(event_id)
        try:
            return check_auth_events(event, found, lambda event_id: event_id in rejected)
        except NotAuthorized:
            raise NotPlain from None

    def _place_of_branch(self, room: LiveRoom, event: Event) -> Place:
        if event.state_key is not None or len(room.extremities) >= MAX_HEADS:
            raise NotPlain
        if any(self._places.after(room, event_id) is None for event_id in event.prev_events):
            raise NotAtHand
        place = self._places.before(room, event)
        if place is None:
            raise NotPlain
        return place

    def _check_says_nothing_new(self, room: LiveRoom, place: Place) -> None:
        """That the room's state stays what it is with an end that has this state: another of its ends has it too. An
        older state is not nothing, for resolved with what came later it may undo that."""
        ends = [self._places.after(room, head.event_id) for head in room.extremities]
        if not any(end is place for end in ends):
            raise NotAtHand if None in ends else NotPlain

    def _facts_at(self, room: LiveRoom, place: Place, keys: Sequence[StateKey]) -> dict[StateKey, Event]:
        found = place.find(keys)
        if found is None and place is self._places.current(room):
            try:
                place.facts.update((key, committed(room, key)) for key in keys)
            except KeyError:
                raise NotAtHand from None
            found = place.find(keys)
        if found is None:
            raise NotAtHand
        return found


def auth_ids_of(event: Event) -> list[str]:
    """The events that an event names for its authorisation, and since v12 the create event."""
    ids: list[str] = list(event.auth_events)
    if event.room_version.room_id_is_create_hash:
        ids.append("$" + event.room_id[1:])
    return ids


def keys_of(event: Event) -> list[StateKey]:
    """The entries of a state that the rules ask for, and the one that the event is about."""
    keys = auth_keys_of(event)
    if CREATE not in keys:
        keys.append(CREATE)
    return keys


def _check(event: Event, state: dict[StateKey, Event]) -> None:
    try:
        check_authorized(event, state)
    except NotAuthorized:
        raise NotPlain from None


__all__ = ["Arrivals", "NotAtHand", "NotPlain", "Runs", "UnknownEvents"]
