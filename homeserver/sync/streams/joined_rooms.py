"""Joined rooms: timeline, state, summary and unread counts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from homeserver.clock import Clock
from homeserver.protocol.filters import Filter, only_fields
from homeserver.push.unread_counts import RoomCounts, UnreadCounts
from homeserver.rooms.aggregations import Aggregations
from homeserver.rooms.client_events import EventSerializer, Reader
from homeserver.rooms.live_room import MEMBER, LiveRoom, LiveRooms
from homeserver.rooms.tokens import place_after
from homeserver.storage.events import StoredEvent
from homeserver.storage.receipts import Receipt, ReceiptStore
from homeserver.stream import Change, Stream
from homeserver.sync.lazy_members import LazyMembers
from homeserver.sync.request import SyncRun
from homeserver.sync.room_window import RoomWindows, Window
from homeserver.sync.summary import heroes, room_summary

SHARED_TIMELINES: Final = 32
SHARED_SECONDS: Final = 0.5
"""The age of the events is not that of the moment then."""


class _SharedTimeline(NamedTuple):
    """What happened in a room between two places, for readers who were in it all that time."""

    window: Window
    events: list[Any]
    senders: set[str]
    expires: float


class JoinedRoomSection:
    """`rooms.join`."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        windows: RoomWindows,
        stream: Stream,
        counts: UnreadCounts,
        receipts: ReceiptStore,
        aggregations: Aggregations,
        serializer: EventSerializer,
        lazy_members: LazyMembers,
        clock: Clock,
        limit_default: int = 10,
        limit_max: int = 100,
    ) -> None:
        self._rooms = rooms
        self._windows = windows
        self._stream = stream
        self._counts = counts
        self._receipts = receipts
        self._aggregations = aggregations
        self._serializer = serializer
        self._lazy_members = lazy_members
        self._clock = clock
        self._shared: OrderedDict[tuple[str, int, int, int], _SharedTimeline] = OrderedDict()
        self._limit_default = limit_default
        self._limit_max = limit_max

    async def add_to(self, run: SyncRun) -> None:
        own_receipts: dict[str, list[Receipt]] | None = None
        if run.is_initial:
            own_receipts = {}
            for receipt in await self._receipts.list_own(run.user_id):
                own_receipts.setdefault(receipt.room_id, []).append(receipt)
        read: set[str] = set()
        if not run.is_initial and self._stream.changed_since(Change.PRIVATE_RECEIPTS, run.user_id, run.after):
            own = await self._receipts.list_own(run.user_id)
            read = {receipt.room_id for receipt in own if receipt.position > run.after}
        shown = run.rooms.get("join", {})
        # What has no news is not even loaded.
        news: dict[str, None] = dict.fromkeys(run.joined) if run.request.full_state else dict.fromkeys(run.newly_joined)
        news |= dict.fromkeys(self._stream.changed_among(Change.EVENTS, run.joined, run.after))
        news |= dict.fromkeys(room_id for room_id in (*read, *shown) if room_id in run.joined)
        for room_id in news:
            room = await self._rooms.get(room_id)
            is_new = room_id in run.newly_joined or run.request.full_state
            made_whole = room.whole_at > run.after
            has_events = (
                is_new
                or made_whole
                or (room.last_position > run.after and self._stream.changed_since(Change.EVENTS, room_id, run.after))
            )
            if has_events:
                await self._add_room(run, room, is_new=room_id in run.newly_joined)
            if has_events or room_id in read or room_id in shown:
                receipts = None if own_receipts is None else own_receipts.get(room_id, [])
                counts = await self._counts.of_room(
                    run.user_id, room, run.now.position, own_receipts=receipts, joined_at=run.joined[room_id].position
                )
                add_counts(run.joined_section(room_id), counts, run.request.filter)

    async def _add_room(self, run: SyncRun, room: LiveRoom, *, is_new: bool) -> None:
        wanted = run.request.filter.room
        window, timeline = await self._timeline(run, room, is_new=is_new)
        if is_new and not run.is_initial and not window.limited:
            # A client that knows the room from an earlier stay must not append what it has already.
            window.limited = await self._windows.has_returned(room, run.user_id)
        shown_before = None if is_new or run.request.full_state else run.after
        state = await self._state(run, room, window, shown_before)
        state = [stored for stored in state if wanted.state.passes_all or wanted.state.matches_event(stored.event)]
        has_news = window.events or state or is_new or room.whole_at > run.after
        if not has_news and not run.request.full_state and not window.limited:
            return
        section = run.joined_section(room.room_id)
        section["timeline"] = {
            "events": timeline,
            "limited": window.limited,
            "prev_batch": place_after(window.start),
        }
        name = run.request.state_after_name if run.request.use_state_after else "state"
        section[name] = {"events": await self.state_events(run, room, state)}
        made_whole = room.whole_at > run.after
        if made_whole or is_new or run.request.full_state or _changes_summary(run.after, window):
            section["summary"] = room_summary(room, run.user_id)

    async def _timeline(self, run: SyncRun, room: LiveRoom, *, is_new: bool) -> tuple[Window, list[Any]]:
        """What happened, and its events as they are shown.

        A message wakes all members of a room, who then ask for the very same: what the first of them gets is kept for
        the others, unless something of it is the reader's own.
        """
        wanted = run.request.filter
        event_filter = wanted.room.timeline
        show_timeline = event_filter.allows_room(room.room_id)
        limit = event_filter.limit_within(self._limit_default, self._limit_max) if show_timeline else 0
        is_plain = event_filter.passes_all and wanted.event_fields is None and wanted.event_format == "client"
        can_share = is_plain and not is_new and not run.ignored
        key, now = (room.room_id, run.after, run.now.position, limit), self._clock.monotonic()
        if can_share:
            shared = self._shared.get(key)
            if shared is not None and now < shared.expires and run.user_id not in shared.senders:
                return shared.window, shared.events
        window = await self._windows.look(
            room,
            run.user_id,
            after=None if is_new else run.after,
            up_to=run.now.position,
            limit=limit,
            event_filter=event_filter,
            ignored=run.ignored,
            was_joined=not is_new,
        )
        events = await self.events(run, room, window.events)
        senders: set[str] = {stored.event.sender for stored, _ in window.events}
        # Of relations, too, some are shown to their senders alone.
        if can_share and run.user_id not in senders and not _may_have_relations(window.events):
            self._shared[key] = _SharedTimeline(window, events, senders, now + SHARED_SECONDS)
            if len(self._shared) > SHARED_TIMELINES:
                self._shared.popitem(last=False)
        return window, events

    async def _state(self, run: SyncRun, room: LiveRoom, window: Window, shown_before: int | None) -> list[StoredEvent]:
        lazy = run.request.filter.room.lazy_load_members
        members: set[str] | None = None
        if lazy:
            members = {stored.event.sender for stored, _ in window.events}
            if shown_before is None:
                members.add(run.user_id)
                members.update(heroes(room, run.user_id))
        if shown_before is None:
            if run.request.use_state_after:
                nothing = Window([], run.now.position, False, [])
                found = await self._windows.state_before(room, nothing, run.now.position, members=members)
            else:
                found = await self._windows.state_before(room, window, run.now.position, members=members)
        elif run.request.use_state_after:
            found = await self._windows.state_between(room, shown_before, run.now.position, members=members)
        else:
            found = await self._windows.state_since(room, window, shown_before, run.now.position, members=members)
        if lazy and members is not None:
            found = await self._with_lazy_members(run, room, window, found, members)
        return found

    async def _with_lazy_members(
        self, run: SyncRun, room: LiveRoom, window: Window, state: list[StoredEvent], members: Iterable[str]
    ) -> list[StoredEvent]:
        """`state` and the member events that the device still needs, without those that it has."""
        device = (run.user_id, run.reader.device_id)
        redundant = run.request.filter.room.include_redundant_members
        in_timeline = {stored.event_id for stored, _ in window.events}
        said = {stored.event.state_key for stored, _ in window.events if stored.event.type == MEMBER}
        have = {stored.event.state_key for stored in state if stored.event.type == MEMBER}
        missing = [member for member in members if member not in have and member not in said]
        state = state + list((await self._rooms.load_member_events(room, missing)).values())
        kept: list[StoredEvent] = []
        for stored in state:
            if stored.event.type == MEMBER:
                member = stored.event.state_key or ""
                sent = self._lazy_members.is_sent(device, room.room_id, member, stored.event_id, run.after)
                if stored.event_id in in_timeline or (sent and not redundant and not run.is_initial):
                    continue
                self._lazy_members.note_sent(device, room.room_id, member, stored.event_id, run.now.position)
            kept.append(stored)
        for stored, _ in window.events:
            if stored.event.type == MEMBER and stored.event.state_key is not None:
                user_id, event_id = stored.event.state_key, stored.event_id
                self._lazy_members.note_sent(device, room.room_id, user_id, event_id, run.now.position)
        return kept

    async def events(self, run: SyncRun, room: LiveRoom, events: list[tuple[StoredEvent, str]]) -> list[Any]:
        """Timeline events as the filter wants them."""
        bundled: Mapping[str, dict[str, Any]] = {}
        if _may_have_relations(events):
            bundled = await self._aggregations.of_events(
                room, [stored for stored, _ in events], run.reader, ignored=run.ignored
            )
        shown: list[Any] = []
        for stored, membership in events:
            reader = Reader(run.user_id, run.reader.device_id, membership)
            raw = self._serializer.serialize(stored, reader, with_room_id=False, relations=bundled.get(stored.event_id))
            shown.append(self._as_wanted(run.request.filter, stored, raw))
        return shown

    async def state_events(self, run: SyncRun, room: LiveRoom, state: Iterable[StoredEvent]) -> list[Any]:
        """State events as the filter wants them."""
        return [
            self._as_wanted(
                run.request.filter, stored, self._serializer.serialize(stored, run.reader, with_room_id=False)
            )
            for stored in sorted(state, key=lambda one: one.position)
        ]

    def _as_wanted(self, wanted: Filter, stored: StoredEvent, raw: msgspec.Raw) -> Any:
        if wanted.event_format == "federation":
            return {**stored.event.pdu, "unsigned": msgspec.json.decode(raw).get("unsigned", {})}
        if wanted.event_fields is None:
            return raw
        return only_fields(msgspec.json.decode(raw), wanted.event_fields)


def _may_have_relations(events: Iterable[tuple[StoredEvent, str]]) -> bool:
    return any(stored.has_relations is not False for stored, _ in events)


def _changes_summary(after: int, window: Window) -> bool:
    named = (MEMBER, "m.room.name", "m.room.canonical_alias")
    return window.start > after or any(stored.event.type in named for stored in window.all_events)


def add_counts(section: dict[str, Any], counts: RoomCounts, wanted: Filter) -> None:
    """Unread counts, by thread where the client asks for that."""
    by_thread = wanted.room.timeline.unread_thread_notifications
    shown = counts.main if by_thread else counts.everything
    section["unread_notifications"] = {
        "notification_count": shown.notifications,
        "highlight_count": shown.highlights,
    }
    if by_thread and counts.threads:
        section["unread_thread_notifications"] = {
            thread: {"notification_count": one.notifications, "highlight_count": one.highlights}
            for thread, one in counts.threads.items()
        }
