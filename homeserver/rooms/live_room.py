"""Rooms in use, kept in memory: committed state and recent events for readers, the draft head for writers.

Theory of operation. Readers see what is committed. Writers draft the next event on top of the *draft head*: the
committed state plus what was drafted and still waits for its COMMIT (`overlay`), so that many events of one room share
one commit. Drafting is synchronous, so it needs no lock. When a drafted event cannot be committed, everything drafted
after it is void: the room's `epoch` moves on, the jobs of the old epoch refuse to run, and their senders draft again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from homeserver.protocol.errors import NotInRoom
from homeserver.protocol.events import Event
from homeserver.protocol.hashes import reference_hash
from homeserver.protocol.identifiers import domain_of
from homeserver.protocol.power_levels import PowerLevels, power_levels_of
from homeserver.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.rooms.partial_rooms import PartialRooms
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.partial_state import PartialState
from homeserver.storage.rooms import RoomStore, StateKey

MEMBER = "m.room.member"
RING = 128
"""How many of a room's newest events stay in memory."""
LIVE_ROOMS = 5_000
MEMBER_EVENTS = 2_000


class Head(NamedTuple):
    """A forward extremity. Room versions 1 and 2 name it by its reference hash too; elsewhere `sha256` is empty."""

    event_id: str
    depth: int
    sha256: str = ""


def head_of(event: Event) -> Head:
    """`event` as the newest of its room."""
    if event.room_version.has_event_ids_in_pdus:
        return Head(event.event_id, event.depth, reference_hash(event.pdu, event.room_version))
    return Head(event.event_id, event.depth)


def heads_after(heads: Iterable[Head], event: Event) -> list[Head]:
    """The forward extremities once `event` is there too."""
    return [*(head for head in heads if head.event_id not in event.prev_events), head_of(event)]


class LiveRoom:
    """One room in memory."""

    def __init__(self, room_id: str, version: RoomVersion, creator: str, position: int) -> None:
        self.room_id = room_id
        self.version = version
        self.creator = creator
        self.state_ids: dict[StateKey, str] = {}
        self.pinned: dict[StateKey, StoredEvent] = {}
        self.member_events: OrderedDict[str, StoredEvent] = OrderedDict()
        self.members: dict[str, str] = {}
        self.members_changed = 0
        self.joined_count = 0
        # How many users of each server are in the room.
        self.servers: dict[str, int] = {}
        self.invited_count = 0
        self.key_values: dict[StateKey, list[tuple[int, str]]] = {}
        self.timeline: deque[StoredEvent] = deque()
        self.timeline_floor = position
        self.last_position = position
        self.extremities: list[Head] = []
        # The newest position at which the state changed by more, or less, than the event that stands there: branches
        # were resolved. What was before this process loaded the room counts as such.
        self.resolved_at = -1
        # The newest position at which anything of the committed state changed, as far as this process knows.
        self.state_changed_at = position
        # How the room was joined, while only a part of its state is here; and since when all of it is.
        self.partial: PartialState | None = None
        self.whole_at = 0
        self.overlay: dict[StateKey, Event] = {}
        self.pending = 0
        self.epoch = 0
        self._committed_extremities: list[Head] = []
        self._held: asyncio.Event | None = None

    # ---- what readers ask

    def state_event(self, event_type: str, state_key: str = "") -> StoredEvent | None:
        """A committed state event that is not a member event (those are fetched with `LiveRooms.member_event`)."""
        return self.pinned.get((event_type, state_key))

    def content(self, event_type: str, state_key: str = "") -> Mapping[str, Any]:
        """The content of a committed state event; empty when there is none."""
        stored = self.pinned.get((event_type, state_key))
        return {} if stored is None else stored.event.content

    def membership(self, user_id: str) -> str:
        """`user_id`'s committed membership; "leave" for those who were never here, as the spec has it."""
        return self.members.get(user_id, "leave")

    def has_server(self, server_name: str) -> bool:
        """Whether anybody of a server is in the room, as far as is known, or told by whom we joined by."""
        return server_name in self.servers or (self.partial is not None and server_name in self.partial.servers)

    def may_be_joined(self, user_id: str) -> bool:
        """Whether the user is in the room; of people of whom nothing is known yet, whether their server is."""
        if (MEMBER, user_id) in self.state_ids or self.partial is None:
            return self.membership(user_id) == "join"
        return domain_of(user_id) in self.partial.servers

    @property
    def server_names(self) -> frozenset[str]:
        """The servers that are in the room, by the same measure."""
        known = frozenset(self.servers)
        return known if self.partial is None else known | self.partial.servers

    def servers_to_ask(self) -> list[str]:
        """The servers in the room, those with the most users first; and first of all who let us in, of late."""
        known = sorted(self.servers, key=lambda name: -self.servers[name])
        if self.partial is None:
            return known
        return list(dict.fromkeys((self.partial.resident, *known, *sorted(self.partial.servers))))

    def joined_members(self) -> Iterator[str]:
        return (user_id for user_id, membership in self.members.items() if membership == "join")

    @property
    def power_levels(self) -> PowerLevels:
        """The committed power levels."""
        create = self.pinned[("m.room.create", "")].event
        levels = self.pinned.get(("m.room.power_levels", ""))
        return power_levels_of(create, None if levels is None else levels.event)

    @property
    def history_visibility(self) -> str:
        value = self.content("m.room.history_visibility").get("history_visibility")
        return value if value in ("world_readable", "shared", "invited", "joined") else "shared"

    @property
    def join_rule(self) -> str:
        value = self.content("m.room.join_rules").get("join_rule")
        return value if isinstance(value, str) else "invite"

    @property
    def is_whole_in_memory(self) -> bool:
        """Whether the ring still holds every event of the room since its creation."""
        return bool(self.timeline) and self.timeline[0].event.type == "m.room.create"

    def recent(self, after: int) -> list[StoredEvent] | None:
        """The events after a position, oldest first; None when memory does not reach back that far."""
        if after < self.timeline_floor:
            return None
        found: list[StoredEvent] = []
        for stored in reversed(self.timeline):
            if stored.position <= after:
                break
            found.append(stored)
        found.reverse()
        return found

    # ---- what writers do

    def draft_state(self, key: StateKey) -> Event | None:
        """The state event that the next event is authorised against; KeyError when its event is not in memory."""
        drafted = self.overlay.get(key)
        if drafted is not None:
            return drafted
        if key[0] != MEMBER:
            stored = self.pinned.get(key)
            return None if stored is None else stored.event
        if key not in self.state_ids:
            return None
        return self.member_events[key[1]].event

    def note_drafted(self, event: Event) -> None:
        """`event` stands on the draft head now and becomes it."""
        self.extremities = heads_after(self.extremities, event)
        if event.state_key is not None:
            self.overlay[event.type, event.state_key] = event
        self.pending += 1

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Nobody drafts meanwhile; what was drafted before may still be on its way to the database. Not reentrant."""
        while self._held is not None:
            await self._held.wait()
        held = self._held = asyncio.Event()
        try:
            yield
        finally:
            self._held = None
            held.set()

    @property
    def is_held(self) -> bool:
        return self._held is not None

    async def released(self) -> None:
        """Wait until nobody holds the room."""
        while self._held is not None:
            await self._held.wait()

    def abandon_drafts(self) -> None:
        """A drafted event failed: everything that waits is void, the draft head is the committed one again."""
        self.epoch += 1
        self.overlay.clear()
        self.extremities = list(self._committed_extremities)
        self.pending = 0

    def commit(self, stored: StoredEvent, heads: list[Head], *, is_state: bool) -> None:
        """`stored` was committed; `is_state`: it is now the state at its key; `heads`: the forward extremities now."""
        event = stored.event
        self._committed_extremities = heads
        self.pending = max(0, self.pending - 1)
        if stored.replaces is not None and event.state_key is not None:
            # What was replaced may have been redacted after this event was drafted (G04).
            before = self.member_events.get(event.state_key) if event.type == MEMBER else self.pinned.get(event.key)
            if before is not None and before.event_id == stored.replaces.event_id:
                stored.replaces = before.event
        if is_state and event.state_key is not None:
            key = (event.type, event.state_key)
            if self.overlay.get(key) is event:
                del self.overlay[key]
            self.set_state(key, stored)
            self.state_changed_at = stored.position
        self.timeline.append(stored)
        if len(self.timeline) > RING:
            self.timeline_floor = self.timeline.popleft().position
        self.last_position = stored.position

    def set_state(self, key: StateKey, stored: StoredEvent) -> None:
        """Make `stored` the committed state at `key`."""
        self.state_ids[key] = stored.event_id
        self.key_values.pop(key, None)
        if key[0] == MEMBER:
            self.keep_member_event(stored)
            self.set_member(key[1], membership_of(stored.event))
        else:
            self.pinned[key] = stored

    def remove_state(self, key: StateKey) -> None:
        """Nothing is the committed state at `key` any more."""
        self.state_ids.pop(key, None)
        self.key_values.pop(key, None)
        if key[0] == MEMBER:
            self.member_events.pop(key[1], None)
            self.set_member(key[1], "leave")
        else:
            self.pinned.pop(key, None)

    def keep_member_event(self, stored: StoredEvent) -> None:
        """Keep a member event at hand, for a while."""
        user_id = stored.event.state_key
        assert user_id is not None
        self.member_events[user_id] = stored
        self.member_events.move_to_end(user_id)
        if len(self.member_events) > MEMBER_EVENTS and not self.pending:
            self.member_events.popitem(last=False)

    def set_member(self, user_id: str, membership: str) -> None:
        """Count `user_id` under its new membership. `members` is in the order of changes, as it is stored."""
        before = self.members.get(user_id)
        change = (membership == "join") - (before == "join")
        if change:
            self.joined_count += change
            server = domain_of(user_id)
            count = self.servers.get(server, 0) + change
            if count:
                self.servers[server] = count
            else:
                del self.servers[server]
        self.invited_count += (membership == "invite") - (before == "invite")
        if not before == membership == "join":
            self.members.pop(user_id, None)
        self.members[user_id] = membership
        self.members_changed += 1

    def set_extremities(self, extremities: Iterable[Head]) -> None:
        """The committed forward extremities, as stored."""
        self._committed_extremities = list(extremities)
        self.extremities = list(self._committed_extremities)

    def note_relation(self, event_id: str) -> None:
        """Another event relates to `event_id` now: what memory holds of it is no longer the whole story."""
        for stored in reversed(self.timeline):
            if stored.event_id == event_id:
                stored.has_relations = True
                return

    def replace_in_memory(self, event_id: str, replacement: StoredEvent) -> None:
        """An event changed in place (it was redacted): every copy in memory is replaced or forgets what it knew."""
        for index, stored in enumerate(self.timeline):
            if stored.event_id == event_id:
                self.timeline[index] = replacement
        for stored in (*self.timeline, *self.pinned.values(), *self.member_events.values()):
            if stored.replaces is not None and stored.replaces.event_id == event_id:
                stored.replaces = replacement.event
            if stored.redacted_because is not None and stored.redacted_because.event_id == event_id:
                stored.redacted_because = replacement.event
        if replacement.event.state_key is None:
            return
        key = replacement.event.key
        if self.state_ids.get(key) == event_id:
            if key[0] == MEMBER:
                self.member_events[key[1]] = replacement
            else:
                self.pinned[key] = replacement


def membership_of(event: Event) -> str:
    """The membership that a member event gives its subject."""
    value = event.content.get("membership")
    return value if isinstance(value, str) else "leave"


class LiveRooms:
    """The rooms in use, loaded from storage when first asked for, the least used forgotten."""

    def __init__(self, rooms: RoomStore, events: EventStore, partial: PartialRooms, *, limit: int = LIVE_ROOMS) -> None:
        self._rooms = rooms
        self._events = events
        self.partial = partial
        self._limit = limit
        self._live: OrderedDict[str, LiveRoom] = OrderedDict()
        self._closed: set[str] = set()

    def peek(self, room_id: str) -> LiveRoom | None:
        """The room if it is in memory."""
        return self._live.get(room_id)

    async def get(self, room_id: str) -> LiveRoom:
        """The room; raises NotInRoom when this server does not know it."""
        found = await self.find(room_id)
        if found is None:
            raise NotInRoom()
        return found

    async def whole(self, room_id: str) -> LiveRoom:
        """The room with its whole state; waits for that where the room was just joined elsewhere. Raises NotInRoom, and
        Unavailable when it takes too long."""
        room = await self.get(room_id)
        while room.partial is not None:
            await self.partial.wait(room_id)
            room = await self.get(room_id)
        return room

    async def find(self, room_id: str) -> LiveRoom | None:
        """The room, or None when this server does not know it."""
        live = self._live.get(room_id)
        if live is not None:
            self._live.move_to_end(room_id)
            return live
        # U+0000 is in no room's id, and PostgreSQL refuses to look for it (D06).
        loaded = None if room_id in self._closed or "\0" in room_id else await self._load(room_id)
        if loaded is None or room_id in self._closed:
            return None
        return self.keep(loaded)

    def keep(self, room: LiveRoom) -> LiveRoom:
        """Hold a room that was just created or loaded; the one that is held wins over a second copy."""
        live = self._live.setdefault(room.room_id, room)
        self._live.move_to_end(room.room_id)
        if len(self._live) > self._limit:
            for room_id, candidate in self._live.items():
                if not candidate.pending and candidate is not live:
                    del self._live[room_id]
                    break
        return live

    def forget(self, room_id: str) -> None:
        """Drop a room whose stored form was changed by somebody else; drafts on it are void."""
        live = self._live.pop(room_id, None)
        if live is not None:
            live.abandon_drafts()

    def close(self, room_id: str) -> None:
        """From now on nobody finds the room, which is being deleted; what was drafted on it is void."""
        self._closed.add(room_id)
        self.forget(room_id)

    def reopen(self, room_id: str) -> None:
        """What is in the database counts again."""
        self._closed.discard(room_id)

    def forget_all(self) -> None:
        """Drop every room: another process wrote."""
        for room_id in list(self._live):
            self.forget(room_id)

    async def member_event(self, room: LiveRoom, user_id: str) -> StoredEvent | None:
        """The committed member event of a user, or None when there is none."""
        if (MEMBER, user_id) not in room.state_ids:
            return None
        await self.load_member_events(room, (user_id,))
        return room.member_events.get(user_id)

    async def load_member_events(self, room: LiveRoom, user_ids: Iterable[str]) -> dict[str, StoredEvent]:
        """The committed member events of these users, fetched where memory lacks them."""
        found: dict[str, StoredEvent] = {}
        missing: dict[str, str] = {}
        for user_id in user_ids:
            event_id = room.state_ids.get((MEMBER, user_id))
            if event_id is None:
                continue
            kept = room.member_events.get(user_id)
            if kept is not None and kept.event_id == event_id:
                found[user_id] = kept
            else:
                missing[event_id] = user_id
        if missing:
            for stored in await self._events.find_events(room.room_id, room.version, list(missing)):
                user_id = missing[stored.event_id]
                found[user_id] = stored
                if room.state_ids.get((MEMBER, user_id)) == stored.event_id:
                    room.keep_member_event(stored)
        return found

    async def state(self, room: LiveRoom, *, members: bool = True) -> list[StoredEvent]:
        """The room's committed state events."""
        found = list(room.pinned.values())
        if members:
            users = [key[1] for key in room.state_ids if key[0] == MEMBER]
            found += (await self.load_member_events(room, users)).values()
        return found

    async def _load(self, room_id: str) -> LiveRoom | None:
        # Nobody writes to a room that is not held here, so what is read below belongs together.
        position = self._rooms.position
        row = await self._rooms.find_room(room_id)
        if row is None:
            return None
        version_id, creator, extremities, _ = row
        room = LiveRoom(room_id, ROOM_VERSIONS[version_id], creator, position)
        for key, event_id in await self._rooms.list_state_ids(room_id):
            room.state_ids[key] = event_id
        for stored in await self._events.list_current_state(room_id, room.version, members=False):
            assert stored.event.key is not None
            room.pinned[stored.event.key] = stored
        for membership in await self._rooms.list_members(room_id):
            room.set_member(membership.user_id, membership.membership)
        room.set_extremities(Head(*head) for head in extremities)
        room.partial = self.partial.find(room_id)
        room.whole_at = self.partial.whole_at(room_id)
        if await self._rooms.has_branches(room_id):
            room.resolved_at = position
        elif room.partial is not None or room.whole_at:
            # Members came without events of their own, and what was judged by a part may have been judged otherwise.
            room.resolved_at = room.whole_at or position
        return room
