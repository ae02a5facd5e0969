"""The pipeline's other door: events that other servers wrote. The spec's checks on receipt, from the fourth on.

Whoever brings an event here has done the first three: it has the form of an event, its signatures are valid, and its
hashes (`protocol/event_format.parse_event`, `federation/`). The steps here, in the spec's order and words:

4. "Passes authorization rules based on the event's auth events, otherwise it is rejected."
5. "Passes authorization rules based on the state before the event, otherwise it is rejected."
6. "Passes authorization rules based on the current state of the room, otherwise it is 'soft failed'."

Rejection is for good (A07). Neither a rejected nor a soft-failed event becomes a forward extremity (A12), and no reader
sees them (A17). An event that stands on all of the room's newest events is drafted on the draft head like our own; for
one that does not, the room is held until the states of its branches are resolved.

Spec: Server-Server API, "Checks performed on receipt of a PDU", "Rejection", "Soft failure".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from homeserver.protocol.authorization import (
    NotAuthorized,
    auth_keys_of,
    check_auth_events,
    check_authorized,
)
from homeserver.protocol.errors import Unknown
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import EventId
from homeserver.rooms.branches import Branches, UnknownEvents
from homeserver.rooms.live_room import MEMBER, Head, LiveRoom, LiveRooms
from homeserver.rooms.partial_judging import PartialJudging
from homeserver.rooms.persistence import Persistence, Prepared
from homeserver.rooms.received_alone import CREATE, BranchJudge
from homeserver.rooms.received_branches import BranchRuns
from homeserver.rooms.received_events import Received, ReceivedEvents
from homeserver.rooms.received_runs import Arrivals, NotAtHand, NotPlain, Runs
from homeserver.storage.database import ConstraintViolated, Database, Transaction
from homeserver.storage.event_graph import EventGraphStore
from homeserver.storage.events import (
    ACCEPTED,
    FOR_GOOD_REJECTED,
    REJECTED,
    REJECTED_OUTLIER,
    SOFT_FAILED,
    WITHOUT_A_PLACE,
    EventStore,
    StoredEvent,
)
from homeserver.storage.rooms import StateKey

MAX_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Accepted:
    """The event is in the room."""

    stored: StoredEvent


@dataclass(frozen=True, slots=True)
class SoftFailed:
    """The event is allowed by its own past, and not by the room as it is now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The event breaks a rule; for good."""

    reason: str


@dataclass(frozen=True, slots=True)
class Known:
    """The event had been received before; `status` is what it was found to be then."""

    status: int


WhyNotRecommended = Callable[[LiveRoom, Event], Awaitable[str | None]]
"""Why the policy server of a room does not recommend an event; None when it does, or there is none."""

Outcome = Accepted | SoftFailed | Rejected | Known


class _Stale(Exception):
    """What this event was drafted on could not be committed; look again."""


class Receiver:
    """Takes events of other servers into rooms that this server is in."""

    def __init__(
        self,
        *,
        db: Database,
        rooms: LiveRooms,
        events: EventStore,
        graph: EventGraphStore,
        branches: Branches,
        persistence: Persistence,
        received_events: ReceivedEvents,
        runs: Runs,
        branch_runs: BranchRuns,
        why_not_recommended: WhyNotRecommended,
        partial: PartialJudging,
    ) -> None:
        self._db = db
        self._rooms = rooms
        self._events = events
        self._graph = graph
        self._branches = branches
        self._persistence = persistence
        self._received_events = received_events
        self._runs = runs
        self._branch_runs = branch_runs
        self._why_not_recommended = why_not_recommended
        self._partial = partial
        self._branch_judge = BranchJudge(events=events, graph=graph, branches=branches)
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    async def receive(
        self, event: Event, *, state_before: Mapping[StateKey, str] | None = None, guess: bool = False
    ) -> Outcome:
        """Judge an event and store it, with the outcome.

        `state_before`: the state before the event where its predecessors cannot be had; every event of it is stored.
        `guess`: in a room whose state is partial, take what is known for it; it is judged again when the rest has come.
        Raises UnknownEvents when predecessors or auth events are not here (they are to be brought first), NotInRoom
        when the room is not known, Unavailable.
        """
        async with self.alone(event.room_id):
            if state_before is not None or guess:
                try:
                    return await self._judge(event, state_before, guess=guess)
                except ConstraintViolated:  # somebody kept it as an outlier meanwhile
                    return await self._judge(event, state_before, guess=guess)
            (outcome,) = await self._receive_in_room(event.room_id, [event])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def receive_all(self, events: Sequence[Event]) -> list[Outcome | Exception]:
        """Several events in order, committed together as far as they follow each other; what one raised is given in its
        place."""
        outcomes: dict[int, Outcome | Exception] = {}
        by_room: dict[str, list[int]] = {}
        for number, event in enumerate(events):
            by_room.setdefault(event.room_id, []).append(number)
        for room_id, numbers in by_room.items():
            async with self.alone(room_id):
                found = await self._receive_in_room(room_id, [events[number] for number in numbers])
            outcomes.update(zip(numbers, found, strict=True))
        return [outcomes[number] for number in range(len(events))]

    async def _receive_in_room(self, room_id: str, events: Sequence[Event]) -> list[Outcome | Exception]:
        try:
            arrivals = await self._runs.gather(await self._rooms.get(room_id), events)
        except Exception as error:
            return [error] * len(events)
        outcomes: list[Outcome | Exception] = []
        looked_again = -1
        while len(outcomes) < len(events):
            at = len(outcomes)
            try:
                outcomes += await self._receive_next(arrivals, at)
            except ConstraintViolated as error:  # somebody kept one of them as an outlier meanwhile
                if looked_again == at:
                    outcomes.append(error)
                    continue
                looked_again = at
                arrivals = await self._runs.gather(await self._rooms.get(room_id), events)
            except Exception as error:  # it falls by itself (A15)
                outcomes.append(error)
        return outcomes

    async def _receive_next(self, arrivals: Arrivals, at: int) -> list[Outcome]:
        """What becomes of the next events of those that came: of none, where more had to be looked up first; of several
        that were plain; or of one."""
        event = arrivals.events[at]
        known = arrivals.known.get(event.event_id)
        if known is not None and known.status not in WITHOUT_A_PLACE:
            return [Known(known.status)]
        room = await self._rooms.get(event.room_id)
        if room.is_held:
            await room.released()
            return []
        drafted: list[Prepared] = []
        for following in arrivals.events[at:]:
            try:
                drafted.append(self._runs.draft(room, arrivals, following))
            except NotAtHand:
                if not drafted and await self._runs.look_up(room, arrivals, following):
                    return []
                break
            except NotPlain:
                break
            except Exception:
                if not drafted:
                    raise
                break  # it comes first next time
            if arrivals.one_by_one:
                break
        if drafted:
            try:
                return [Accepted(stored) for stored in await self._write_drafts(room, drafted)]
            except Exception as error:
                self._runs.take_back(arrivals, drafted)
                if not isinstance(error, _Stale):
                    if len(drafted) == 1:
                        raise
                    arrivals.one_by_one = True
                    return []
        if {head.event_id for head in room.extremities} != set(event.prev_events):
            async with room.hold():
                await self._db.write(nothing)  # what was drafted is committed then, or void
                if self._rooms.peek(room.room_id) is room:
                    received = await self._branch_runs.receive(room, arrivals, at)
                    if received:
                        return [Accepted(stored) for stored in received]
        outcome = await self._judge(event, None, guess=False)
        if event.type == "m.room.redaction":
            await self._runs.note_redaction(room, arrivals)
        return [outcome]

    @asynccontextmanager
    async def alone(self, room_id: str) -> AsyncIterator[None]:
        """No event of another server is received in the room meanwhile. Not reentrant."""
        lock = self._locks.setdefault(room_id, asyncio.Lock())
        self._waiting[room_id] = self._waiting.get(room_id, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[room_id] -= 1
            if not self._waiting[room_id]:
                del self._waiting[room_id], self._locks[room_id]

    async def _judge(self, event: Event, state_before: Mapping[StateKey, str] | None, *, guess: bool) -> Outcome:
        unwanted: str | None = None
        for _ in range(MAX_ATTEMPTS):
            room = await self._rooms.get(event.room_id)
            found = await self._graph.find_graph_events(room.room_id, [event.event_id])
            known = found.get(event.event_id)
            if known is not None and known.status not in WITHOUT_A_PLACE:
                return Known(known.status)
            was_outlier = known is not None
            refusal = "It was rejected before" if known is not None and known.status == REJECTED_OUTLIER else None
            refusal = refusal or await self.refusal_by_auth_events(room, event)
            if refusal is None and unwanted is None:
                unwanted = await self._why_not_recommended(room, event)
            if room.partial is not None and refusal is None:
                await self._partial.learn(room, event)
            redactions = await self._graph.list_waiting_redactions(room.room_id, event.event_id)
            if state_before is None and await self._stands_on_head(room, event):
                is_special = was_outlier or refusal or unwanted or redactions
                prepared = None if is_special else self._draft_on_head(room, event)
                if prepared is not None:
                    try:
                        return Accepted((await self._write_drafts(room, [prepared]))[0])
                    except _Stale:
                        continue
            async with room.hold():
                await self._db.write(nothing)  # what was drafted is committed then, or void
                if self._rooms.peek(room.room_id) is not room:
                    continue
                received = await self._branch_judge.judge(room, event, refusal, state_before, unwanted, guess=guess)
                received.was_outlier = was_outlier
                if room.partial is not None and received.status != ACCEPTED and not (refusal or unwanted):
                    await self._partial.keep(room, event, is_new=not was_outlier)
                    return SoftFailed(f"It waits for the whole state: {received.reason}")
                if received.status == ACCEPTED and redactions:
                    received.redaction = await self._branch_judge.redaction_that_waited(room, event, redactions)
                return await self._write(room, received)
        raise Unknown("The room is too busy, try again")

    # 4.

    async def refusal_by_auth_events(
        self, room: LiveRoom, event: Event, others: Mapping[str, tuple[Event, bool]] | None = None
    ) -> str | None:
        """Why the event's own auth events do not allow it; None when they do. Raises UnknownEvents.

        `others`: events that are not stored yet, each with whether it was rejected.
        """
        wanted = list(event.auth_events)
        if event.room_version.room_id_is_create_hash:
            wanted.append(EventId("$" + event.room_id[1:]))
        known: dict[str, tuple[Event, bool]] = {}
        if others is not None:
            known = {event_id: others[event_id] for event_id in wanted if event_id in others}
        missing = [event_id for event_id in wanted if event_id not in known]
        # Of any room, so that an auth event of another one is a reason to reject, not to ask for it again (A05).
        for stored in await self._events.find_events(room.room_id, room.version, missing) if missing else ():
            known[stored.event_id] = (stored.event, stored.status in FOR_GOOD_REJECTED)
        unknown = [event_id for event_id in wanted if event_id not in known]
        if unknown:
            raise UnknownEvents(unknown)
        rejected = {event_id for event_id, (_, is_rejected) in known.items() if is_rejected}
        try:
            state = check_auth_events(
                event,
                {EventId(event_id): auth_event for event_id, (auth_event, _) in known.items()},
                lambda event_id: event_id in rejected,
            )
            check_authorized(event, state)
        except NotAuthorized as error:
            return f"By its auth events: {error}"
        return None

    # 5. and 6. on the draft head, where the state before the event is the current state too

    async def _stands_on_head(self, room: LiveRoom, event: Event) -> bool:
        """Whether the event follows all of the room's newest events; then all that it is judged by is in memory."""
        users = {key[1] for key in auth_keys_of(event) if key[0] == MEMBER}
        if event.type == MEMBER and event.state_key is not None:
            users.add(event.state_key)
        await self._rooms.load_member_events(room, users)
        if room.is_held:
            await room.released()
            return False
        return {head.event_id for head in room.extremities} == set(event.prev_events)

    def _draft_on_head(self, room: LiveRoom, event: Event) -> Prepared | None:
        """None when that is not so simple, and the room is needed for the event alone."""
        if event.type == "m.room.redaction":
            return None
        try:
            state = {key: found for key in auth_keys_of(event) if (found := room.draft_state(key)) is not None}
            create = room.draft_state(CREATE)
            replaces = None if event.state_key is None else room.draft_state(event.key)
        except KeyError:  # a member event that memory has lost meanwhile
            return None
        if create is not None:
            state[CREATE] = create
        try:
            check_authorized(event, state)
        except NotAuthorized:
            return None
        prepared = Prepared.of(event, None, replaces)
        room.note_drafted(event)
        prepared.heads = room.extremities
        return prepared

    async def _write_drafts(self, room: LiveRoom, drafted: Sequence[Prepared]) -> list[StoredEvent]:
        """Call it at once after drafting: whoever drafts next writes next. Raises _Stale."""
        epoch = room.epoch

        async def job(txn: Transaction) -> list[StoredEvent]:
            if room.epoch != epoch:
                raise _Stale
            txn.on_abort(room.abandon_drafts)
            return await self._persistence.write(txn, room, drafted, new=False)

        try:
            return await self._db.write(job)
        except _Stale:
            raise
        except Exception:
            if room.epoch == epoch:
                room.abandon_drafts()
            raise

    async def _write(self, room: LiveRoom, received: Received) -> Outcome:
        stored = await self._db.write(lambda txn: self._received_events.write(txn, room, received))
        self._branches.forget([stored.event_id])
        if received.status == REJECTED:
            return Rejected(received.reason)
        if received.status == SOFT_FAILED:
            return SoftFailed(received.reason)
        return Accepted(stored)


async def nothing(txn: Transaction) -> None:
    """A write that writes nothing: when it is done, whatever was queued before it is."""


__all__ = ["Accepted", "Head", "Known", "Outcome", "Receiver", "Rejected", "SoftFailed", "UnknownEvents"]
