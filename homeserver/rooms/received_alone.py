"""Steps 5 and 6 for an event of another server that has the room for itself: on a branch, redacting, or not allowed.

Spec: Server-Server API, "Checks performed on receipt of a PDU".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from homeserver.protocol.authorization import NotAuthorized, auth_keys_of, check_authorized, may_redact
from homeserver.protocol.errors import BadJson
from homeserver.protocol.events import Event
from homeserver.protocol.power_levels import power_levels_of
from homeserver.rooms.branches import Branches, UnknownEvents
from homeserver.rooms.live_room import LiveRoom, heads_after
from homeserver.rooms.persistence import Prepared
from homeserver.rooms.received_events import Received
from homeserver.rooms.received_runs import MAX_HEADS
from homeserver.storage.event_graph import BranchState, EventGraphStore
from homeserver.storage.events import ACCEPTED, REJECTED, SOFT_FAILED, WITHOUT_A_PLACE, EventStore, StoredEvent
from homeserver.storage.rooms import StateKey

CREATE: Final = ("m.room.create", "")
POWER_LEVELS: Final = ("m.room.power_levels", "")


class BranchJudge:
    """Judges them. Callers hold the room."""

    def __init__(self, *, events: EventStore, graph: EventGraphStore, branches: Branches) -> None:
        self._events = events
        self._graph = graph
        self._branches = branches

    async def judge(
        self,
        room: LiveRoom,
        event: Event,
        refusal: str | None,
        state_before: Mapping[StateKey, str] | None,
        unwanted: str | None,
        *,
        guess: bool = False,
    ) -> Received:
        """What becomes of an event, with the room's state and ends afterwards.

        `refusal`: why its auth events do not allow it; `unwanted`: why the policy server does not recommend it;
        `state_before`, `guess`: as in `Receiver.receive`. Raises UnknownEvents, BadJson.
        """
        if not event.prev_events:
            raise BadJson("The event has no predecessors, and the room has begun")
        unknown: list[str] = []
        if state_before is None:
            before, whole = await self._branches.merged(room, await self._states_before(room, event, guess=guess))
        else:
            before, whole, unknown = await self._with_known(room, event, dict(state_before))
        replaced = None if event.state_key is None else room.state_ids.get(event.key)
        received = Received(Prepared.of(event), ACCEPTED, before, heads=[*room.extremities], unknown=unknown)
        try:
            if refusal is not None:
                received.status, received.reason = REJECTED, refusal
                return received
            state = await self._facts(room, event, whole)
            check_authorized(event, state)
        except NotAuthorized as error:
            received.status, received.reason = REJECTED, f"By the state before it: {error}"
            return received
        try:
            current = await self._facts(room, event, room.state_ids)
            check_authorized(event, current)
        except NotAuthorized as error:
            received.status, received.reason = SOFT_FAILED, str(error)
            return received
        if unwanted is not None:
            received.status, received.reason = SOFT_FAILED, unwanted
            return received
        if replaced is not None:
            found = await self._events.find_events(room.room_id, room.version, [replaced])
            received.prepared.replaces = found[0].event if found else None
        await self._resolve(room, received)
        await self._apply_redaction(room, received, state)
        return received

    async def _states_before(self, room: LiveRoom, event: Event, *, guess: bool) -> list[BranchState]:
        try:
            return await self._branches.after(room, event.prev_events)
        except UnknownEvents as unknown:
            if not guess or room.partial is None:
                raise
            known = [event_id for event_id in event.prev_events if event_id not in unknown.event_ids]
            return await self._branches.after(room, known) if known else [BranchState(room.partial.base)]

    async def _with_known(
        self, room: LiveRoom, event: Event, claimed: dict[StateKey, str]
    ) -> tuple[BranchState, dict[StateKey, str], list[str]]:
        """A state that another server claims, resolved with what this server knows of the event's predecessors: whoever
        names all of the room's newest events beside an unknown one does not reset the room by it (A04). And those
        predecessors that are not here."""
        states = [self._branches.difference(BranchState(room.last_position), room.state_ids, claimed)]
        unknown: list[str] = []
        for event_id in event.prev_events:
            try:
                states += await self._branches.after(room, [event_id])
            except UnknownEvents:
                unknown.append(event_id)
        found = await self._graph.find_graph_events(room.room_id, unknown)
        missing = [one for one in unknown if one not in found or found[one].status in WITHOUT_A_PLACE]
        return (*await self._branches.merged(room, states), missing)

    async def _facts(self, room: LiveRoom, event: Event, ids: Mapping[StateKey, str]) -> dict[StateKey, Event]:
        """The entries of a state that the rules ask for."""
        keys = {CREATE, POWER_LEVELS, *auth_keys_of(event)}
        wanted = [ids[key] for key in keys if key in ids]
        found = await self._events.find_events(room.room_id, room.version, wanted)
        return {stored.event.key: stored.event for stored in found}

    async def _resolve(self, room: LiveRoom, received: Received) -> None:
        """The room's forward extremities and its state with the event."""
        event = received.prepared.event
        others = [head for head in room.extremities if head.event_id not in event.prev_events]
        received.heads = heads_after(room.extremities, event)
        if len(received.heads) > MAX_HEADS and len(received.heads) > len(room.extremities):
            # One branch too many: it is not followed until something stands on it. Were another given up for it,
            # whoever makes many could push out those of others, and with them what they say of the state (A12).
            received.heads = [*room.extremities]
            return
        after = received.before
        if event.state_key is not None:
            after = after.plus(event.key, event.event_id)
        elif len(event.prev_events) == 1 and len(others) == len(room.extremities) - 1:
            return  # one of the branches has grown, and says nothing new about the state
        states = [after, *await self._branches.after(room, [head.event_id for head in others])]
        _, current = await self._branches.merged(room, states, [event])
        received.changes = {key: event_id for key, event_id in current.items() if room.state_ids.get(key) != event_id}
        received.changes.update((key, None) for key in room.state_ids if key not in current)
        changed = [event_id for event_id in received.changes.values() if event_id not in (None, event.event_id)]
        found = await self._events.find_events(room.room_id, room.version, [one for one in changed if one is not None])
        received.changed_to = {stored.event_id: stored for stored in found}

    async def _apply_redaction(self, room: LiveRoom, received: Received, state: Mapping[StateKey, Event]) -> None:
        event = received.prepared.event
        if event.redacts is None:
            return
        found = await self._events.find_events(room.room_id, room.version, [event.redacts])
        if not found:
            received.waits_for_target = True
        elif may_redact(event, found[0].event, power_levels_of(state[CREATE], state.get(POWER_LEVELS))):
            received.prepared.redaction_target = found[0]

    async def redaction_that_waited(
        self, room: LiveRoom, event: Event, redactions: Sequence[str]
    ) -> StoredEvent | None:
        """The first of the redactions that may redact the event."""
        for stored in await self._events.find_events(room.room_id, room.version, redactions):
            if stored.status == ACCEPTED and may_redact(stored.event, event, room.power_levels):
                return stored
        return None
