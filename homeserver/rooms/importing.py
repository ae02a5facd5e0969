"""Takes in a room as another server tells of it, when a user of ours has joined there: its state, and the join itself.

What is told is not believed but checked: every event by its own auth events, the join by the state. Of what fails, only
that is dropped, and the join stands as long as the state allows it (A04, A20). The events of the state have no place in
the timeline here (outliers); the log of the room's state begins with them.

The state may be told without its members, which then come later: `keep_state`, and `partial_state.py`.

Spec: Server-Server API, "Joining Rooms".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from homeserver.notifier import Notifier
from homeserver.protocol.authorization import NotAuthorized, auth_keys_of, check_auth_events, check_authorized
from homeserver.protocol.errors import Forbidden
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import EventId
from homeserver.rooms.live_room import MEMBER, LiveRoom, LiveRooms, head_of, membership_of
from homeserver.rooms.persistence import Prepared
from homeserver.storage.database import Database, Transaction
from homeserver.storage.event_graph import EventGraphStore
from homeserver.storage.events import (
    FOR_GOOD_REJECTED,
    OUTLIER,
    REJECTED_OUTLIER,
    EventStore,
    StoredEvent,
)
from homeserver.storage.partial_state import PartialState, PartialStateStore
from homeserver.storage.rooms import Membership, RoomStore, StateKey
from homeserver.stream import Change, Stream

CREATE = ("m.room.create", "")
IN_A_WRITE: Final = 250
"""So many events of a big state are written at once: others have their turn between."""
JUDGED_AT_ONCE: Final = 100


class BadState(Forbidden):
    """The state that another server told of a room is of no use; perhaps another server's is."""


class RoomImport:
    """Writes rooms that begin elsewhere."""

    def __init__(
        self,
        *,
        db: Database,
        rooms: LiveRooms,
        events: EventStore,
        store: RoomStore,
        graph: EventGraphStore,
        stream: Stream,
        notifier: Notifier,
        server_name: str,
        partial: PartialStateStore,
    ) -> None:
        self._db = db
        self._rooms = rooms
        self._events = events
        self._store = store
        self._graph = graph
        self._stream = stream
        self._notifier = notifier
        self._server_name = server_name
        self._partial = partial

    async def take_in(
        self, state: Sequence[Event], auth_chain: Sequence[Event], join: Event, *, partial: PartialState | None = None
    ) -> StoredEvent:
        """Begin to take part in the room of `join`, an event of ours that the other server has accepted.

        `state`: that before the join; `auth_chain`: its auth events. All have passed form, signatures and hashes.
        `partial`: members are missing in `state` (its `base` is set here). Raises BadState when nothing can be made of
        them.
        """
        judged = judge([*auth_chain, *state])
        create = self._check_create(join, state)
        kept = [event for event in state if event.is_state and not judged.get(event.event_id, (event, True))[1]]
        accepted = {event.key: event for event in kept}
        if accepted.get(CREATE) is not create:
            raise BadState("The create event of the room is not valid")
        facts = {key: accepted[key] for key in (CREATE, *auth_keys_of(join)) if key in accepted}
        if partial is not None:
            facts = {**_members_named(join, judged), **facts}
        try:
            check_authorized(join, facts)
        except NotAuthorized as error:
            raise BadState(f"By the state of the room, the join is not allowed: {error}") from error
        known = await self._rooms.find(join.room_id)
        if known is not None and self._server_name in known.servers:
            raise BadState("This server takes part in the room already")
        if known is not None and known.state_ids.get(CREATE, create.event_id) != create.event_id:
            raise BadState("The room has another create event")  # A02, A14
        events = {event.event_id: event for event, _ in judged.values()}
        stored = {one.event_id for one in await self._events.find_events(join.room_id, join.room_version, list(events))}
        before = dict(await self._store.list_state_ids(join.room_id)) if known is not None else {}

        async def job(txn: Transaction) -> StoredEvent:
            base = 0
            for event_id, (event, is_rejected) in judged.items():
                base = txn.next_position()
                if event_id not in stored:
                    outlier = StoredEvent(event, base, status=REJECTED_OUTLIER if is_rejected else OUTLIER)
                    self._events.add_event(txn, outlier, Prepared.of(event).text)
            if known is None:
                self._store.add_room(
                    txn, join.room_id, join.room_version.identifier, create.sender, [head_of(join)], base
                )
            else:
                self._store.set_extremities(txn, join.room_id, [head_of(join)])
            self._write_state(txn, join.room_id, accepted.values(), before, base)
            if partial is None:
                self._partial.remove_partial(txn, join.room_id)
                txn.on_commit(lambda: self._rooms.partial.forget(join.room_id))
            else:
                begun = replace(partial, base=base)
                self._partial.set_partial(txn, begun)
                txn.on_commit(lambda: self._rooms.partial.note(begun))
            return self._write_join(txn, join, accepted.get(join.key))

        return await self._db.write(job)

    async def keep_state(
        self, room: LiveRoom, state: Sequence[Event], auth_chain: Sequence[Event], progress: Callable[[int], None]
    ) -> dict[StateKey, Event]:
        """Keep the events of a big state, and their auth events, a few at a time; the entries that stand by their own
        auth events. `progress` is told how many more were judged and kept. All have passed form, signatures and hashes.
        """
        by_id: dict[str, Event] = {event.event_id: event for event in (*auth_chain, *state)}
        elsewhere = {one for event in by_id.values() for one in _auth_ids(event) if one not in by_id}
        known = {
            stored.event_id: (stored.event, stored.status in FOR_GOOD_REJECTED)
            for stored in await self._events.find_events(room.room_id, room.version, list(elsewhere))
        }
        here = await self._graph.find_graph_events(room.room_id, list(by_id))
        known.update((one, (by_id[one], here[one].status in FOR_GOOD_REJECTED)) for one in here)
        judged = dict(known)
        for index, _ in enumerate(_judging(by_id, judged)):
            if index % JUDGED_AT_ONCE == 0:
                await asyncio.sleep(0)
        new = [(by_id[one], judged[one][1]) for one in judged if one in by_id and one not in here]
        progress(len(here))
        for start in range(0, len(new), IN_A_WRITE):
            part = new[start : start + IN_A_WRITE]
            await self._add_outliers(room.room_id, part)
            progress(len(part))
        return {
            event.key: event
            for event in state
            if event.is_state and event.event_id in judged and not judged[event.event_id][1]
        }

    async def _add_outliers(self, room_id: str, judged: Sequence[tuple[Event, bool]]) -> None:
        async def job(txn: Transaction) -> None:
            here = await self._graph.find_graph_events(room_id, [event.event_id for event, _ in judged])
            for event, is_rejected in judged:
                if event.event_id not in here:
                    status = REJECTED_OUTLIER if is_rejected else OUTLIER
                    outlier = StoredEvent(event, txn.next_position(), status=status)
                    self._events.add_event(txn, outlier, Prepared.of(event).text)

        await self._db.write(job)

    async def keep_outliers(self, room: LiveRoom, events: Sequence[Event]) -> None:
        """Keep events that others stand on, without a place in the timeline, each with whether its auth events reject
        it. What has auth events that nobody has is dropped."""
        wanted = {one for event in events for one in (event.event_id, *_auth_ids(event))}
        known = {
            stored.event_id: (stored.event, stored.status in FOR_GOOD_REJECTED)
            for stored in await self._events.find_events(room.room_id, room.version, list(wanted))
        }
        judged = judge([event for event in events if event.event_id not in known], known)

        async def job(txn: Transaction) -> None:
            here = await self._graph.find_graph_events(room.room_id, list(judged))
            for event_id, (event, is_rejected) in judged.items():
                if event_id not in here:
                    outlier = StoredEvent(
                        event, txn.next_position(), status=REJECTED_OUTLIER if is_rejected else OUTLIER
                    )
                    self._events.add_event(txn, outlier, Prepared.of(event).text)

        if judged:
            await self._db.write(job)

    def _check_create(self, join: Event, state: Sequence[Event]) -> Event:
        creates = [event for event in state if event.is_state and event.key == CREATE]
        if len(creates) != 1 or creates[0].room_id != join.room_id:
            raise BadState("The state of the room has not one create event")
        version = creates[0].content.get("room_version", "1")
        if version != join.room_version.identifier:
            raise BadState(f"The room is of version {version!r}, and not {join.room_version.identifier!r} (A14)")
        return creates[0]

    def _write_state(
        self, txn: Transaction, room_id: str, state: Iterable[Event], before: Mapping[StateKey, str], base: int
    ) -> None:
        now: set[StateKey] = set()
        for event in state:
            now.add(event.key)
            if before.get(event.key) == event.event_id:
                continue
            self._store.set_state(txn, room_id, event.key, event.event_id, base)
            if event.type == MEMBER and event.state_key is not None:
                self._store.set_membership(
                    txn,
                    Membership(
                        room_id, event.state_key, membership_of(event), event.event_id, event.sender, base, False
                    ),
                )
        for key in before:
            if key not in now:
                self._store.remove_state(txn, room_id, key, base)

    def _write_join(self, txn: Transaction, join: Event, replaces: Event | None) -> StoredEvent:
        stored = StoredEvent(join, txn.next_position(), replaces=replaces, has_relations=False)
        self._events.add_event(txn, stored, Prepared.of(join).text)
        self._store.set_state(txn, join.room_id, join.key, join.event_id, stored.position)
        user_id = join.key[1]
        self._store.set_membership(
            txn, Membership(join.room_id, user_id, "join", join.event_id, join.sender, stored.position, False)
        )
        self._graph.add_unknown(txn, join.room_id, join.event_id, join.prev_events)
        self._store.remove_stripped_states(txn, join.room_id)

        def committed() -> None:
            self._rooms.forget(join.room_id)  # what memory held of it was of an earlier time
            self._notifier.follow_room(user_id, join.room_id, follow=True)
            self._stream.announce(Change.MEMBERSHIP, stored.position, users=(user_id,))
            self._stream.announce(Change.EVENTS, stored.position, rooms=(join.room_id,))

        txn.on_commit(committed)
        return stored


def judge(
    events: Iterable[Event], known: Mapping[str, tuple[Event, bool]] | None = None
) -> dict[str, tuple[Event, bool]]:
    """Events by id, each with whether its own auth events reject it, in an order where auth events come first.

    `known`: events that were judged before. What has auth events that are in neither is left out, as if it had never
    come.
    """
    by_id: dict[str, Event] = {event.event_id: event for event in events}
    judged: dict[str, tuple[Event, bool]] = dict(known or {})
    for _ in _judging(by_id, judged):
        pass
    return {event_id: one for event_id, one in judged.items() if event_id in by_id}


def _judging(by_id: Mapping[str, Event], judged: dict[str, tuple[Event, bool]]) -> Iterator[None]:
    """Adds to `judged`, step by step; each step is one event and what it stands on."""
    left_out: set[str] = set()
    for root in by_id.values():
        path = [root]
        on_path = {root.event_id}
        while path:
            event = path[-1]
            wanted = _auth_ids(event)
            following = [by_id[one] for one in wanted if one in by_id and one not in judged and one not in left_out]
            following = [one for one in following if one.event_id not in on_path]
            if event.event_id not in judged and event.event_id not in left_out and following:
                path.append(following[0])
                on_path.add(following[0].event_id)
                continue
            path.pop()
            on_path.discard(event.event_id)
            if event.event_id in judged or event.event_id in left_out:
                continue
            if all(one in judged for one in wanted):
                judged[event.event_id] = (event, _is_rejected(event, judged))
            else:
                left_out.add(event.event_id)
        yield


def _members_named(join: Event, judged: Mapping[str, tuple[Event, bool]]) -> dict[StateKey, Event]:
    """The member events that a join names as its auth events, where the state was told without members."""
    named = [judged[one] for one in join.auth_events if one in judged]
    return {event.key: event for event, is_rejected in named if event.type == MEMBER and not is_rejected}


def _auth_ids(event: Event) -> list[str]:
    if event.type == "m.room.create":
        return []
    wanted: list[str] = list(event.auth_events)
    if event.room_version.room_id_is_create_hash:
        wanted.append("$" + event.room_id[1:])
    return wanted


def _is_rejected(event: Event, judged: Mapping[str, tuple[Event, bool]]) -> bool:
    known: dict[EventId, Event] = {EventId(one): judged[one][0] for one in _auth_ids(event)}
    try:
        check_authorized(event, check_auth_events(event, known, lambda event_id: judged[str(event_id)][1]))
    except NotAuthorized:
        return True
    return False
