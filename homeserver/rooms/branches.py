"""The state before and after any event of a room's graph, and what several branches make together.

Theory of operation. While a room is one line, the state just after an event is the room's log of changes at the event's
position, and nothing else is stored. An event that does not stand on all of the room's newest events is on a branch:
the state before it is worked out from its predecessors, and kept beside it as its difference from the log at some
position (`BranchState`). Whatever stands on it finds its way back from there.

States of other servers are never believed (A04): what they claim of a state is only used where this server was not in
the room.

Spec: Server-Server API, "Room State Resolution".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import EventId
from homeserver.protocol.state_resolution import auth_difference, differing, needed_keys, resolve, separate
from homeserver.rooms.auth_chains import AuthChains
from homeserver.rooms.live_room import LiveRoom
from homeserver.storage.event_graph import BranchState, EventGraphStore, GraphEvent
from homeserver.storage.events import ACCEPTED, FOR_GOOD_REJECTED, REJECTED, UNKNOWN_STATE, WITHOUT_A_PLACE, EventStore
from homeserver.storage.rooms import RoomStore, StateKey

KEPT_EVENTS: Final = 20_000
"""Of events that resolutions needed, so many stay at hand: those of a forked room are needed again and again."""
FEW_KEYS: Final = 50
FEW_CHANGES: Final = 100
KEPT_LOGS: Final = 100
"""Of so many forked rooms, when each entry of the state changed last stays at hand."""


class UnknownEvents(Exception):
    """Events that somebody names and this server does not have (or has, but without a place in the graph)."""

    def __init__(self, event_ids: Collection[str]) -> None:
        super().__init__(f"{len(event_ids)} events are not known")
        self.event_ids = frozenset(event_ids)


@dataclass(slots=True)
class _Log:
    """Where each entry of a room's state changed last, up to a position."""

    up_to: int = 0
    newest: dict[StateKey, int] = field(default_factory=dict)


class Branches:
    """Works out states. The room must not change meanwhile: callers hold it (`LiveRoom.hold`)."""

    def __init__(self, *, events: EventStore, graph: EventGraphStore, rooms: RoomStore) -> None:
        self._events = events
        self._graph = graph
        self._rooms = rooms
        self._chains = AuthChains(graph)
        self._kept: OrderedDict[str, tuple[Event, bool]] = OrderedDict()
        self._logs: OrderedDict[str, _Log] = OrderedDict()

    async def after(self, room: LiveRoom, event_ids: Sequence[str]) -> list[BranchState]:
        """The state after each of these events. Raises UnknownEvents."""
        found = await self._graph.find_graph_events(room.room_id, list(dict.fromkeys(event_ids)))
        placed = {event_id: one for event_id, one in found.items() if one.status not in WITHOUT_A_PLACE}
        missing = [event_id for event_id in event_ids if event_id not in placed]
        if missing:
            raise UnknownEvents(missing)
        return [await self._after(placed[event_id]) for event_id in event_ids]

    async def _after(self, event: GraphEvent) -> BranchState:
        if event.state_group == UNKNOWN_STATE:
            raise UnknownEvents([event.event_id])
        if event.state_group is None:
            if event.status == ACCEPTED:
                return BranchState(event.position)
            before = BranchState(event.position - 1)
        else:
            before = await self._graph.get_branch_state(event.state_group)
        if event.state_key is None or event.status == REJECTED:
            return before
        return before.plus((event.type, event.state_key), event.event_id)

    async def before(self, room: LiveRoom, event_id: str) -> BranchState:
        """The state before an event that is in the graph. Raises UnknownEvents."""
        found = (await self._graph.find_graph_events(room.room_id, [event_id])).get(event_id)
        if found is None or found.status in WITHOUT_A_PLACE or found.state_group == UNKNOWN_STATE:
            raise UnknownEvents([event_id])
        if found.state_group is None:
            return BranchState(found.position - 1)
        return await self._graph.get_branch_state(found.state_group)

    async def whole(self, room: LiveRoom, state: BranchState) -> dict[StateKey, str]:
        """A state with all of its entries."""
        ids = dict(room.state_ids)
        changed = await self._changed_since(room, state.base)
        if len(changed) > FEW_KEYS:
            ids = await self._rooms.list_state_ids_at(room.room_id, state.base)
        elif changed:
            for key in changed:
                ids.pop(key, None)
            ids.update(await self._rooms.list_state_ids_at(room.room_id, state.base, keys=changed))
        for key, event_id in state.differences.items():
            if event_id is None:
                ids.pop(key, None)
            else:
                ids[key] = event_id
        return ids

    async def _changed_since(self, room: LiveRoom, base: int) -> list[StateKey]:
        """The keys of the state that changed after a position. For a branch that began long ago, that is not read from
        the log again each time (A12)."""
        up_to = max(room.last_position, base)
        log = self._logs.get(room.room_id)
        if log is None:
            changes = await self._rooms.list_state_changes(room.room_id, base, up_to, limit=FEW_CHANGES)
            if len(changes) < FEW_CHANGES:
                return list(dict.fromkeys(key for _, key, _ in changes))
            log = self._logs[room.room_id] = _Log()
        if log.up_to < up_to:
            for position, key, _ in await self._rooms.list_state_changes(room.room_id, log.up_to, up_to):
                log.newest[key] = max(position, log.newest.get(key, 0))
            log.up_to = up_to
        self._logs.move_to_end(room.room_id)
        if len(self._logs) > KEPT_LOGS:
            self._logs.popitem(last=False)
        return [key for key, position in log.newest.items() if position > base]

    async def merged(
        self, room: LiveRoom, states: Sequence[BranchState], new: Sequence[Event] = ()
    ) -> tuple[BranchState, dict[StateKey, str]]:
        """What states make together, by the room version's state resolution, in short and in full.

        `new`: events that are in them and not stored yet. Raises UnknownEvents.
        """
        states = _different(states)
        wholes = [await self.whole(room, state) for state in states]
        if all(whole == wholes[0] for whole in wholes):
            return states[0], wholes[0]
        resolved = await self._resolve(room, wholes, new)
        base = max(states, key=lambda state: state.base)
        return self.difference(base, wholes[states.index(base)], resolved), resolved

    def difference(
        self, base: BranchState, whole: Mapping[StateKey, str], wanted: Mapping[StateKey, str]
    ) -> BranchState:
        """The state `wanted`, told by its differences from another, which is `whole`."""
        differences = dict(base.differences)
        differences.update((key, event_id) for key, event_id in wanted.items() if whole.get(key) != event_id)
        differences.update((key, None) for key in whole if key not in wanted)
        return BranchState(base.base, differences)

    async def resolve(self, room: LiveRoom, states: Sequence[Mapping[StateKey, str]]) -> dict[StateKey, str]:
        """What whole states make together. Raises UnknownEvents."""
        return await self._resolve(room, states)

    async def _resolve(
        self, room: LiveRoom, states: Sequence[Mapping[StateKey, str]], new: Sequence[Event] = ()
    ) -> dict[StateKey, str]:
        unstored: dict[str, Event] = {event.event_id: event for event in new}
        sets = [{key: EventId(event_id) for key, event_id in state.items()} for state in states]
        if room.version.state_resolution == "v1":
            events = await self._with_chains(room, {one for state in sets for one in state.values()}, unstored)
            return dict(resolve(room.version, sets, {EventId(one): event for one, (event, _) in events.items()}))
        # What nobody disputes is most of the state: nothing of it is read but what the rules ask for.
        unconflicted, conflicted = separate(sets)
        entries = await self._with_chains(room, conflicted, unstored)
        keys = needed_keys(event for event, _ in entries.values())
        asked = {unconflicted[key] for key in keys if key in unconflicted} - entries.keys()
        entries.update(await self._with_chains(room, asked, unstored))
        by_id = {EventId(event_id): event for event_id, (event, _) in entries.items()}
        difference = auth_difference(differing(sets, unconflicted), by_id)
        shared = await self._chains.beneath(room, difference, unconflicted.values(), unstored)
        resolved = resolve(
            room.version,
            sets,
            by_id,
            rejected=frozenset(EventId(event_id) for event_id, (_, is_rejected) in entries.items() if is_rejected),
            shared={EventId(event_id) for event_id in shared},
        )
        return dict(resolved)

    async def _with_chains(
        self, room: LiveRoom, event_ids: Collection[str], unstored: Mapping[str, Event]
    ) -> dict[str, tuple[Event, bool]]:
        wanted = {*event_ids, *(event_id for event in unstored.values() for event_id in event.auth_events)}
        entries = await self.with_auth_chains(room, wanted - unstored.keys())
        entries.update((event_id, (event, False)) for event_id, event in unstored.items())
        return entries

    async def with_auth_chains(self, room: LiveRoom, event_ids: Iterable[str]) -> dict[str, tuple[Event, bool]]:
        """Events and all that is in their auth chains, by id, each with whether it was rejected.

        Raises UnknownEvents. An event of another room counts as unknown (A05).
        """
        found: dict[str, tuple[Event, bool]] = {}
        wanted = set(event_ids)
        if room.version.room_id_is_create_hash:
            wanted.add("$" + room.room_id[1:])
        while wanted:
            entries = await self.find_events(room, wanted)
            unknown = wanted - entries.keys()
            if unknown:
                raise UnknownEvents(unknown)
            found.update(entries)
            wanted = {one for event, _ in entries.values() for one in event.auth_events if one not in found}
        return found

    async def find_events(self, room: LiveRoom, event_ids: Iterable[str]) -> dict[str, tuple[Event, bool]]:
        """Those of the events that are here, in this room (A05), by id, each with whether it was rejected."""
        found: dict[str, tuple[Event, bool]] = {}
        missing: list[str] = []
        for event_id in event_ids:
            kept = self._kept.get(event_id)
            if kept is None or kept[0].room_id != room.room_id:
                missing.append(event_id)
            else:
                self._kept.move_to_end(event_id)
                found[event_id] = kept
        for stored in await self._events.find_events(room.room_id, room.version, missing) if missing else ():
            entry = found[stored.event_id] = (stored.event, stored.status in FOR_GOOD_REJECTED)
            self._keep(entry)
        return found

    def _keep(self, entry: tuple[Event, bool]) -> None:
        self._kept[entry[0].event_id] = entry
        if len(self._kept) > KEPT_EVENTS:
            self._kept.popitem(last=False)

    def forget(self, event_ids: Iterable[str]) -> None:
        """These changed as they are stored: redacted, or judged."""
        for event_id in event_ids:
            self._kept.pop(event_id, None)


def _different(states: Sequence[BranchState]) -> list[BranchState]:
    """Each state once: branches that say nothing of the state are many in a forked room, and cost nothing."""
    found: list[BranchState] = []
    for state in states:
        if not any(one.base == state.base and one.differences == state.differences for one in found):
            found.append(state)
    return found
