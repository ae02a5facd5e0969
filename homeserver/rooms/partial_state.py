"""When the rest of a room's state has come: the room is made whole, and what happened meanwhile is judged again.

Theory of operation. A room that was joined with a part of its state (`RoomImport.take_in`) has a *base*: the position
just before the join, from which on the room's log of state changes is of this stay. What came after it was judged by a
part. Now everything is worked out anew from the whole state, in memory: the state before and after each event, by its
own predecessors; then, in the order of the timeline, what was the current state (`judging_again.py`). The log is
written anew from the base on, as if the whole had been there from the beginning, so that whoever asks for the state at
any place of this stay gets all of it. Places of events stay as they are. What readers had been told, and was wrong, is
corrected at the position of this change; only members that they had not been told of are not news.

Spec: Server-Server API, "Joining Rooms" (`omit_members`); MSC3902.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from homeserver.notifier import Notifier
from homeserver.protocol.authorization import NotAuthorized, auth_keys_of, check_authorized
from homeserver.protocol.events import Event
from homeserver.rooms.branches import Branches
from homeserver.rooms.importing import CREATE, BadState
from homeserver.rooms.judging_again import JudgedAgain, JudgingAgain
from homeserver.rooms.live_room import MEMBER, LiveRoom, LiveRooms, membership_of
from homeserver.rooms.receiving import Receiver, nothing
from homeserver.storage.database import Database, Transaction
from homeserver.storage.event_graph import BranchState, EventGraphStore
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.partial_state import PartialState, PartialStateStore
from homeserver.storage.rooms import Membership, RoomStore, StateKey
from homeserver.stream import Change, Stream

ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Completed:
    """What became of a room: how many entries its state has, how many events were judged again and how many of them
    are no longer what they were taken for."""

    state: int
    judged: int
    otherwise: int


class PartialStates:
    """Makes rooms whole."""

    def __init__(
        self,
        *,
        db: Database,
        rooms: LiveRooms,
        events: EventStore,
        store: RoomStore,
        partial: PartialStateStore,
        graph: EventGraphStore,
        branches: Branches,
        receiver: Receiver,
        stream: Stream,
        notifier: Notifier,
    ) -> None:
        self._db = db
        self._rooms = rooms
        self._events = events
        self._store = store
        self.store = partial
        self._graph = graph
        self._branches = branches
        self._receiver = receiver
        self._stream = stream
        self._notifier = notifier

    async def list_unattached(self, room: LiveRoom, partial: PartialState) -> list[Event]:
        """The events of this stay whose predecessors are not all here, so that the state before them has to be asked
        for: all but the join, and those that stand where it stands."""
        found = await self._since(room, partial)
        here = {stored.event_id for stored in found}
        join = next((stored.event for stored in found if stored.event_id == partial.join_event_id), None)
        return [
            stored.event
            for stored in found
            if join is not None
            and not here.issuperset(stored.event.prev_events)
            and set(stored.event.prev_events) != set(join.prev_events)
        ]

    async def complete(
        self,
        room_id: str,
        join_event_id: str,
        told: Mapping[StateKey, Event],
        states_before: Mapping[str, Mapping[StateKey, str]] | None = None,
    ) -> Completed:
        """The state before the join is `told`; every event of it is stored. `states_before`: by event id, the state
        before those whose predecessors cannot be had.

        Where it is at odds with what the resident server told at the join, both are resolved. Raises BadState when
        nothing can be made of it.
        """
        for _ in range(ATTEMPTS):
            async with self._receiver.alone(room_id):
                room = await self._rooms.get(room_id)
                partial = room.partial
                if partial is None or partial.join_event_id != join_event_id:
                    raise BadState("The room was left and joined again meanwhile")
                async with room.hold():
                    await self._db.write(nothing)  # what was drafted is committed then, or void
                    if self._rooms.peek(room_id) is room:
                        return await self._complete(room, partial, told, states_before or {})
        raise BadState("The room is too busy")

    async def abandon(self, partial: PartialState) -> None:
        """Nobody here is in the room any more: what is known of it is all that there will be."""

        async def job(txn: Transaction) -> None:
            await self.store.abandon(txn, partial)
            txn.on_commit(abandoned)

        def abandoned() -> None:
            now = self._rooms.partial.find(partial.room_id)
            if now is not None and now.join_event_id == partial.join_event_id:
                self._rooms.partial.forget(partial.room_id)
                self._rooms.forget(partial.room_id)

        await self._db.write(job)

    async def forget_waiting(self, room_id: str, event_id: str) -> None:
        """An event that waited was received, or cannot be."""

        async def job(txn: Transaction) -> None:
            self.store.remove_waiting(txn, room_id, event_id)

        await self._db.write(job)

    async def _complete(
        self,
        room: LiveRoom,
        partial: PartialState,
        told: Mapping[StateKey, Event],
        states_before: Mapping[str, Mapping[StateKey, str]],
    ) -> Completed:
        base = await self._check(room, partial, told)
        found = await self._since(room, partial)
        again = JudgingAgain(room, self._branches, self._events, base, partial.join_event_id, states_before)
        again.know(event for key, event in told.items() if key[0] != MEMBER)
        judged = await again.judge(found)
        now = {**base, **{key: event_id for key, event_id in again.current.items() if event_id is not None}}
        for key, event_id in again.current.items():
            if event_id is None:
                now.pop(key, None)
        before = dict(await self._store.list_state_ids_at(room.room_id, partial.base - 1))
        otherwise = [one for one in judged if one.status != one.stored.status]
        members = await self._memberships(room, partial, told, now, judged, again)

        async def job(txn: Transaction) -> None:
            await self.store.clear_log(txn, room.room_id, partial.base)
            log: list[tuple[int, str, str, str | None]] = [
                (partial.base, *key, event_id) for key, event_id in base.items() if before.get(key) != event_id
            ]
            log += [(partial.base, *key, None) for key in before if key not in base]
            log += [(position, *key, event_id) for position, key, event_id in again.log]
            position = txn.next_position()
            corrected = {key: now.get(key) for key, shown in room.state_ids.items() if now.get(key) != shown}
            log += [(position, *key, event_id) for key, event_id in corrected.items()]
            await self.store.add_to_log(txn, room.room_id, log)
            await self.store.set_current(
                txn,
                room.room_id,
                [(*key, event_id) for key, event_id in now.items() if room.state_ids.get(key) != event_id],
                [key for key in room.state_ids if key not in now],
            )
            for membership in members:
                self._store.set_membership(txn, membership)
            self._write_judgements(txn, room, partial, judged)
            await self.store.set_judgements(
                txn, [(one.stored.event_id, one.status, one.group, one.replaces) for one in judged]
            )
            self._store.set_extremities(txn, room.room_id, again.heads)
            self.store.set_partial(txn, replace(partial, whole_at=position))
            changed = [key[1] for key in corrected if key[0] == MEMBER]
            txn.on_commit(lambda: self._committed(room, replace(partial, whole_at=position), now, changed, judged))

        await self._db.write(job)
        return Completed(len(now), len(judged), len(otherwise))

    async def _check(
        self, room: LiveRoom, partial: PartialState, told: Mapping[StateKey, Event]
    ) -> dict[StateKey, str]:
        """The state before the join. Raises BadState when what is told cannot be it."""
        if CREATE not in told or told[CREATE].event_id != room.state_ids.get(CREATE):
            raise BadState("The state has another create event, or none")
        claimed: dict[StateKey, str] = {key: event.event_id for key, event in told.items()}
        told_then = await self._store.list_state_changes(room.room_id, partial.base - 1, partial.base)
        at_join = {**claimed, **{key: one for _, key, one in told_then if one is not None and key[0] != MEMBER}}
        base = claimed if at_join == claimed else await self._branches.resolve(room, [at_join, claimed])
        join = await self._events.find_events(room.room_id, room.version, [partial.join_event_id])
        keys = {CREATE, *auth_keys_of(join[0].event)}
        found = await self._events.find_events(room.room_id, room.version, [base[key] for key in keys if key in base])
        try:
            check_authorized(join[0].event, {stored.event.key: stored.event for stored in found})
        except NotAuthorized as error:
            raise BadState(f"By this state, the join is not allowed: {error}") from error
        return base

    async def _since(self, room: LiveRoom, partial: PartialState) -> list[StoredEvent]:
        """The events of this stay in the order in which they came, those that wait for the state included."""
        placed = await self.store.list_placed_ids(room.room_id, partial.base)
        waiting = await self.store.list_waiting(room.room_id)
        ids = [event_id for _, event_id in placed] + waiting
        found = await self._events.find_events(room.room_id, room.version, ids)
        return sorted(found, key=lambda stored: stored.position)

    async def _memberships(
        self,
        room: LiveRoom,
        partial: PartialState,
        told: Mapping[StateKey, Event],
        now: Mapping[StateKey, str],
        judged: Sequence[JudgedAgain],
        again: JudgingAgain,
    ) -> list[Membership]:
        """The memberships that are not, or not so, in the database."""
        by_id: dict[str, Event] = {event.event_id: event for event in told.values()}
        by_id.update((one.stored.event_id, one.stored.event) for one in judged)
        changed_at = {event_id: position for position, _, event_id in again.log if event_id is not None}
        new = {key[1]: event_id for key, event_id in now.items() if key[0] == MEMBER}
        new = {user: event_id for user, event_id in new.items() if room.state_ids.get((MEMBER, user)) != event_id}
        missing = [event_id for event_id in new.values() if event_id not in by_id]
        for stored in await self._events.find_events(room.room_id, room.version, missing) if missing else ():
            by_id[stored.event_id] = stored.event
        rows: list[Membership] = []
        for user_id, event_id in new.items():
            event = by_id[event_id]
            position = changed_at.get(event_id, partial.base)
            rows.append(
                Membership(room.room_id, user_id, membership_of(event), event_id, event.sender, position, False)
            )
        gone = [key[1] for key in room.state_ids if key[0] == MEMBER and key not in now]
        rows += [
            Membership(room.room_id, user_id, "leave", room.state_ids[MEMBER, user_id], user_id, partial.base, False)
            for user_id in gone
        ]
        return rows

    def _write_judgements(
        self, txn: Transaction, room: LiveRoom, partial: PartialState, judged: Sequence[JudgedAgain]
    ) -> None:
        """The states before those events that do not follow from the log, each once."""
        groups: dict[int, int] = {}
        for one in judged:
            one.group = None
            if one.follows_log:
                continue
            group = groups.get(id(one.before))
            if group is None:
                group = groups[id(one.before)] = one.stored.position
                self._graph.add_branch_state(txn, room.room_id, group, BranchState(partial.base, one.before))
            one.group = group

    def _committed(
        self,
        room: LiveRoom,
        partial: PartialState,
        now: Mapping[StateKey, str],
        changed: Sequence[str],
        judged: Sequence[JudgedAgain],
    ) -> None:
        assert partial.whole_at is not None
        self._rooms.forget(room.room_id)
        self._rooms.partial.note(partial)
        self._branches.forget([one.stored.event_id for one in judged])
        for user_id in changed:
            is_in = room.membership(user_id) == "join" and (MEMBER, user_id) in now
            self._notifier.follow_room(user_id, room.room_id, is_in)
        if changed:
            self._stream.announce(Change.MEMBERSHIP, partial.whole_at, users=tuple(changed))
        self._stream.announce(Change.EVENTS, partial.whole_at, rooms=(room.room_id,))
