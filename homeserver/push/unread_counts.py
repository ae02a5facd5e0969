"""Unread counts: how many events of a room deserve a user's attention, counted when somebody asks.

Nothing is counted when an event is sent: a room of thousands costs a sender nothing. When a member asks, the events
since the last count are judged by the member's push rules and remembered; a receipt drops those that it covers. An
event is flattened for the rules once, however many members ask. What is remembered is bounded, and can always be
counted again from the stored events.

Spec: Client-Server API, "Receiving notifications" and "Unread thread notifications".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from homeserver.protocol.push_rules import UserRules, highlights, notifies
from homeserver.protocol.push_rules_evaluation import CompiledRules, EventForPush, compile_rules
from homeserver.protocol.relations import THREAD, relation_of
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.receipts import MAIN, PRIVATE, READ, UNTHREADED
from homeserver.rooms.thread_subscriptions import ThreadSubscriptions, follows_thread
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.receipts import Receipt, ReceiptStore
from homeserver.storage.rooms import RoomStore
from homeserver.stream import Change, Stream

REMEMBERED: Final = 10_000
"""How many users keep their counts in memory."""
SCANNED: Final = 5_000
"""How far back an unread room is counted."""
JOINED: Final = "joined"
"""Beside the threads in what was read: nothing of before this joining counts."""

QUIET_COUNTS: Final = 500
FLATTENED_AT_REST: Final = 500

ROOMS_READ: Final = 2
"""Of how many rooms the events that were read last are kept."""

RulesOf = Callable[[str], Awaitable[UserRules]]
IgnoredOf = Callable[[str], Awaitable[frozenset[str]]]


class Noted(NamedTuple):
    """An unread event that notifies."""

    position: int
    thread: str
    highlight: bool
    event_id: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Unread events of one timeline: those that notify, and those of them that highlight."""

    notifications: int = 0
    highlights: int = 0


@dataclass(frozen=True, slots=True)
class RoomCounts:
    """Counts of a room: all of it, its main timeline, and each thread with unread events."""

    everything: Counts
    main: Counts
    threads: Mapping[str, Counts]


NONE: Final = Counts()
NOTHING: Final = RoomCounts(NONE, NONE, {})


@dataclass(slots=True)
class _Tally:
    """What is remembered of one user in one room: up to where it was counted, and what notified."""

    counted: int
    noted: list[Noted] = field(default_factory=list)
    read: dict[str, int] = field(default_factory=dict)
    answer: RoomCounts | None = None
    receipts_changed: int = 0

    def is_unread(self, one: Noted) -> bool:
        """Whether no receipt covers it."""
        read = self.read
        return one.position > max(read.get(UNTHREADED, 0), read.get(JOINED, 0)) and one.position > read.get(
            one.thread, 0
        )


class UnreadCounts:
    """Counts unread events."""

    def __init__(
        self,
        *,
        events: EventStore,
        receipts: ReceiptStore,
        rooms: RoomStore,
        stream: Stream,
        rules_of: RulesOf,
        ignored_of: IgnoredOf,
        threads: ThreadSubscriptions,
    ) -> None:
        self._events = events
        self._receipts = receipts
        self._rooms = rooms
        self._rules_of = rules_of
        self._ignored_of = ignored_of
        self._threads = threads
        self._tallies: OrderedDict[str, dict[str, _Tally]] = OrderedDict()
        self._flattened: OrderedDict[str, EventForPush] = OrderedDict()
        self._read: OrderedDict[str, tuple[int, list[StoredEvent]]] = OrderedDict()
        self._quiet = 0
        stream.listen(self._changed)

    async def of_room(
        self,
        user_id: str,
        room: LiveRoom,
        up_to: int,
        *,
        own_receipts: Sequence[Receipt] | None = None,
        joined_at: int | None = None,
    ) -> RoomCounts:
        """The unread counts of a member, with everything up to a position. `own_receipts` (of the user in the room) and
        `joined_at` (where the membership began): where the caller has them at hand."""
        tallies = self._tallies.get(user_id)
        if tallies is None:
            tallies = self._tallies[user_id] = {}
            if len(self._tallies) > REMEMBERED:
                self._tallies.popitem(last=False)
        tally = tallies.get(room.room_id)
        if tally is None:
            tally = tallies[room.room_id] = _Tally(counted=-1)
        while not tally.read:
            await self._read_receipts(tally, user_id, room, own_receipts, joined_at)
            own_receipts = None
        if tally.counted < 0:
            tally.counted = max(tally.read.get(UNTHREADED, 0), tally.read[JOINED])
        if tally.counted < up_to and room.last_position > tally.counted:
            while not await self._count(tally, user_id, room):
                pass
        if tally.answer is None:
            tally.noted = [one for one in tally.noted if tally.is_unread(one)]
            tally.answer = _summary(tally.noted)
        return tally.answer

    async def _count(self, tally: _Tally, user_id: str, room: LiveRoom) -> bool:
        """Count what is new; False when somebody else did so in the meantime, so that it is to be looked at again."""
        newest, counted = room.last_position, tally.counted
        if newest <= counted:
            return True
        new = room.recent(counted)
        if new is None:
            self._quiet = 0
            new = await self._stored(room, counted, newest)
        elif self._read or len(self._flattened) > FLATTENED_AT_REST:
            self._forget_burst()
        rules = compile_rules(await self._rules_of(user_id)) if new else None
        ignored = await self._ignored_of(user_id) if new else frozenset[str]()
        threads = await self._threads.of_user(user_id) if new else {}
        if tally.counted != counted:
            return False
        tally.counted = newest
        if rules is None:
            return True
        name = _display_name(room, user_id)
        for stored in new:
            if stored.position > newest:
                break
            if stored.event.redacts is not None and tally.noted:
                tally.noted = [one for one in tally.noted if one.event_id != stored.event.redacts]
                tally.answer = None
            if stored.event.sender in ignored:
                continue
            noted = self._judge(stored, rules, room, user_id, name, threads)
            if noted is not None:
                tally.noted.append(noted)
                if tally.answer is not None:
                    tally.answer = _plus(tally.answer, noted) if tally.is_unread(noted) else None
            elif stored.event.sender == user_id and tally.noted:
                # Whoever writes in a timeline has read it.
                thread = _thread_of(stored)
                tally.noted = [one for one in tally.noted if one.thread != thread]
                tally.answer = None
        return True

    def _forget_burst(self) -> None:
        """Counts are made from memory again: after some of them, what a burst made us read is not wanted any more."""
        self._quiet += 1
        if self._quiet >= QUIET_COUNTS:
            self._quiet = 0
            self._read.clear()
            while len(self._flattened) > FLATTENED_AT_REST:
                self._flattened.popitem(last=False)

    async def _stored(self, room: LiveRoom, counted: int, newest: int) -> list[StoredEvent]:
        """The newest events after `counted`, oldest first. After a burst every member asks for the same, so what was
        read last for a room is kept for a moment; what is newer than that is in memory."""
        kept = self._read.get(room.room_id)
        if kept is not None:
            floor, events = kept
            later = room.recent(events[-1].position) if events else None
            if floor <= counted and later is not None:
                return [stored for stored in (*events, *later) if counted < stored.position <= newest]
        events = await self._events.list_timeline(
            room.room_id, room.version, after=counted, before=newest + 1, limit=SCANNED, newest_first=True
        )
        events.reverse()
        self._read[room.room_id] = (counted, events)
        if len(self._read) > ROOMS_READ:
            self._read.popitem(last=False)
        return events

    def _judge(
        self,
        stored: StoredEvent,
        rules: CompiledRules,
        room: LiveRoom,
        user_id: str,
        name: str | None,
        threads: Mapping[tuple[str, str], bool],
    ) -> Noted | None:
        event = stored.event
        if event.sender == user_id or stored.redacted_because is not None:
            return None
        flattened = self._flattened.get(event.event_id)
        if flattened is None:
            flattened = EventForPush(event, member_count=room.joined_count, levels=room.power_levels)
            self._flattened[event.event_id] = flattened
            if len(self._flattened) > SCANNED:
                self._flattened.popitem(last=False)
        follows = follows_thread(stored, threads) if threads else None
        actions = rules.evaluate(flattened, user_id, name, follows)
        if not notifies(actions):
            return None
        return Noted(stored.position, _thread_of(stored), highlights(actions), event.event_id)

    async def _read_receipts(
        self, tally: _Tally, user_id: str, room: LiveRoom, own: Sequence[Receipt] | None, joined_at: int | None
    ) -> None:
        changes = tally.receipts_changed
        if own is None:
            own = await self._receipts.list_own(user_id, room.room_id)
        read: dict[str, int] = {}
        for receipt in own:
            if receipt.receipt_type in (READ, PRIVATE):
                read[receipt.thread_id] = max(read.get(receipt.thread_id, 0), receipt.event_position)
        if joined_at is None:
            membership = await self._rooms.find_membership(room.room_id, user_id)
            joined_at = 0 if membership is None else membership.position
        read[JOINED] = joined_at
        if tally.receipts_changed == changes:
            tally.read = read  # else the user read on in the meantime, and the caller looks again

    def forget_room(self, room_id: str) -> None:
        """Events of the room were deleted: it is counted anew."""
        self._read.pop(room_id, None)
        for tallies in self._tallies.values():
            tallies.pop(room_id, None)

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is Change.PRIVATE_RECEIPTS:
            for user_id in users:
                for tally in self._tallies.get(user_id, {}).values():
                    tally.read = {}
                    tally.receipts_changed += 1
                    tally.answer = None
        elif kind is Change.MEMBERSHIP:
            for user_id in users:
                self._tallies.pop(user_id, None)


def _thread_of(stored: StoredEvent) -> str:
    relation = relation_of(stored.event.content) if stored.event.state_key is None else None
    if relation is not None and relation.rel_type == THREAD and relation.event_id is not None:
        return relation.event_id
    return MAIN


def _display_name(room: LiveRoom, user_id: str) -> str | None:
    member = room.member_events.get(user_id)
    name = None if member is None else member.event.content.get("displayname")
    return name if isinstance(name, str) else None


def _plus(counts: RoomCounts, one: Noted) -> RoomCounts:
    """The counts with one more unread event."""
    everything = Counts(counts.everything.notifications + 1, counts.everything.highlights + one.highlight)
    if one.thread == MAIN:
        main = Counts(counts.main.notifications + 1, counts.main.highlights + one.highlight)
        return RoomCounts(everything, main, counts.threads)
    before = counts.threads.get(one.thread, NONE)
    thread = Counts(before.notifications + 1, before.highlights + one.highlight)
    return RoomCounts(everything, counts.main, {**counts.threads, one.thread: thread})


def _summary(noted: Sequence[Noted]) -> RoomCounts:
    if not noted:
        return NOTHING
    by_thread: dict[str, list[int]] = {}
    for one in noted:
        counts = by_thread.setdefault(one.thread, [0, 0])
        counts[0] += 1
        counts[1] += one.highlight
    main = by_thread.pop(MAIN, [0, 0])
    threads = {thread: Counts(*counts) for thread, counts in by_thread.items()}
    everything = Counts(len(noted), sum(one.highlight for one in noted))
    return RoomCounts(everything, Counts(*main), threads)
