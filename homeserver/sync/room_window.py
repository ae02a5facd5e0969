"""What happened in one room between two places: its newest events, and the state where they begin.

This is the part that /sync and its relatives share. A window whose events are all in memory costs no query.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from homeserver.protocol.events import Event
from homeserver.protocol.filters import RoomEventFilter
from homeserver.rooms.live_room import MEMBER, LiveRoom, LiveRooms
from homeserver.rooms.visibility import DUMMY, RoomView, RoomVisibility
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.rooms import RoomStore, StateKey

MAX_SCANNED: Final = 1_000


@dataclass(slots=True)
class Window:
    """`events`: those to show, oldest first, each with the reader's membership then. `start`: the place just before the
    first of them. `limited`: there is more between `after` and `start`. `all_events`: everything after `start` that was
    looked at, hidden events included, oldest first. `unseen`: state of a key that changed after `start` without any
    event of `events` saying so, because a filter or the history visibility hides it."""

    events: list[tuple[StoredEvent, str]]
    start: int
    limited: bool
    all_events: list[StoredEvent]
    unseen: dict[StateKey, StoredEvent] = field(default_factory=dict)


class RoomWindows:
    """Looks at rooms."""

    def __init__(self, *, rooms: LiveRooms, store: RoomStore, events: EventStore, visibility: RoomVisibility) -> None:
        self._rooms = rooms
        self._store = store
        self._events = events
        self._visibility = visibility

    async def look(
        self,
        room: LiveRoom,
        user_id: str,
        *,
        after: int | None,
        up_to: int,
        limit: int,
        event_filter: RoomEventFilter,
        ignored: frozenset[str],
        was_joined: bool,
    ) -> Window:
        """The newest `limit` events in (after, up_to] that the user may see and the filter passes.

        `after` None: from the beginning. `was_joined`: the user was in the room all that time, so that everything is
        visible.
        """
        floor = after if after is not None else -1
        expires = self._visibility.oldest_ms(room) is not None
        view = None if was_joined and not expires else await self._visibility.view(room, user_id)
        recent = room.recent(floor) if after is not None else None
        if recent is not None:
            return self._choose(recent, view, floor, up_to, limit, event_filter, ignored, complete=True)
        if after is None and room.is_whole_in_memory:
            return self._choose(list(room.timeline), view, floor, up_to, limit, event_filter, ignored, complete=True)
        found = self._newest_in_memory(room, up_to, limit)
        if found is not None:
            window = self._choose(found, view, floor, up_to, limit, event_filter, ignored, complete=False)
            if len(window.events) == limit:
                return window
        wanted = limit + 1
        while True:
            scanned = await self._events.list_timeline(
                room.room_id,
                room.version,
                after=after or 0,  # the history of before this server was in the room is for whoever scrolls there
                before=up_to + 1,
                limit=wanted,
                newest_first=True,
            )
            scanned.reverse()
            complete = len(scanned) < wanted
            window = self._choose(scanned, view, floor, up_to, limit, event_filter, ignored, complete=complete)
            if complete or len(window.events) >= limit or wanted >= MAX_SCANNED:
                return window
            wanted = min(wanted * 4, MAX_SCANNED)

    def _newest_in_memory(self, room: LiveRoom, up_to: int, limit: int) -> list[StoredEvent] | None:
        if len(room.timeline) <= limit:
            return None
        return [stored for stored in room.timeline if stored.position <= up_to]

    def _choose(
        self,
        scanned: list[StoredEvent],
        view: RoomView | None,
        floor: int,
        up_to: int,
        limit: int,
        event_filter: RoomEventFilter,
        ignored: frozenset[str],
        *,
        complete: bool,
    ) -> Window:
        passes_all = event_filter.passes_all
        chosen: list[tuple[StoredEvent, str]] = []
        index = len(scanned)
        for index in range(len(scanned) - 1, -1, -1):
            stored = scanned[index]
            if stored.position > up_to:
                continue
            event = stored.event
            if (
                event.type == DUMMY
                or (not passes_all and not event_filter.matches_event(event))
                or (view is not None and not view.shows(stored))
                or (event.sender in ignored and event.state_key is None)
            ):
                continue
            if len(chosen) == limit:
                index += 1
                break
            chosen.append((stored, "join" if view is None else view.membership_at(stored.position)))
        else:
            index = 0
        chosen.reverse()
        limited = index > 0 or not complete
        looked_at = [stored for stored in scanned[index:] if stored.position <= up_to]
        if len(looked_at) == len(chosen) and not limited:
            return Window(chosen, floor, limited, looked_at)
        start = chosen[0][0].position - 1 if chosen else up_to
        looked_at = [stored for stored in looked_at if stored.position > start]
        return Window(chosen, start, limited, looked_at, _unseen(chosen, looked_at))

    async def has_returned(self, room: LiveRoom, user_id: str) -> bool:
        """Whether the user was in the room before this stay, so that clients know part of it already."""
        return (await self._visibility.view(room, user_id)).has_returned

    # ---- state around a window

    async def state_before(
        self, room: LiveRoom, window: Window, up_to: int, *, members: Iterable[str] | None
    ) -> list[StoredEvent]:
        """The state just before a window's first event; of members only these, or all for None.

        While the room's newest event is in the window this is the current state with the window's changes undone.
        """
        if room.last_position <= up_to and room.resolved_at <= window.start:
            return await self._undo(room, window, members)
        wanted = None if members is None else frozenset(members)
        start = window.start
        if start <= 0 and not (window.all_events and window.all_events[0].event.type == "m.room.create"):
            start = await self._store.find_first_state_position(room.room_id)
        ids = await self._store.list_state_ids_at(room.room_id, start)
        chosen = [
            event_id
            for (event_type, state_key), event_id in ids.items()
            if wanted is None or event_type != MEMBER or state_key in wanted
        ]
        found = await self._events.find_events(room.room_id, room.version, chosen)
        return _with_unseen(found, window, wanted)

    async def _undo(self, room: LiveRoom, window: Window, members: Iterable[str] | None) -> list[StoredEvent]:
        before: dict[StateKey, Event | None] = {}
        for stored in reversed(window.all_events):
            if stored.event.state_key is not None and stored.event.key not in window.unseen:
                before[stored.event.key] = stored.replaces
        if members is None:
            members = [key[1] for key in room.state_ids if key[0] == MEMBER]
        wanted = frozenset(members)
        state = [stored for key, stored in room.pinned.items() if key not in before]
        unchanged = [user_id for user_id in wanted if (MEMBER, user_id) not in before]
        state += (await self._rooms.load_member_events(room, unchanged)).values()
        earlier = [
            event.event_id
            for key, event in before.items()
            if event is not None and (key[0] != MEMBER or key[1] in wanted)
        ]
        if earlier:
            state += await self._events.find_events(room.room_id, room.version, earlier)
        return state

    async def state_since(
        self, room: LiveRoom, window: Window, after: int, up_to: int, *, members: Iterable[str] | None
    ) -> list[StoredEvent]:
        """What a reader who knows the state at `after` and will be shown a window, which ends at `up_to`, needs too;
        members as above."""
        wanted = None if members is None else frozenset(members)
        found = await self.state_between(room, after, window.start, members=wanted)
        if room.resolved_at > window.start:
            found += await self._resolved(room, window, up_to, wanted)
        return _with_unseen(found, window, wanted)

    async def _resolved(
        self, room: LiveRoom, window: Window, up_to: int, members: frozenset[str] | None
    ) -> list[StoredEvent]:
        """The state that branches of the room made together within a window, where none of its events says so."""
        changes = await self._store.list_state_changes(room.room_id, window.start, up_to)
        newest = {key: event_id for _, key, event_id in changes}
        shown = {stored.event_id for stored, _ in window.events}
        wanted = [
            event_id
            for key, event_id in newest.items()
            if event_id is not None
            and event_id not in shown
            and (members is None or key[0] != MEMBER or key[1] in members)
        ]
        return await self._events.find_events(room.room_id, room.version, wanted) if wanted else []

    async def state_between(
        self, room: LiveRoom, after: int, up_to: int, *, members: Iterable[str] | None
    ) -> list[StoredEvent]:
        """The state entries that changed in (after, up_to], as they are at `up_to`; of members only these, or all."""
        if up_to <= after:
            return []
        wanted = None if members is None else frozenset(members)
        recent = room.recent(after) if room.resolved_at <= after else None
        newest: dict[StateKey, str] = {}
        if recent is not None:
            by_id: dict[str, StoredEvent] = {}
            for stored in recent:
                if stored.event.state_key is not None and stored.position <= up_to:
                    newest[stored.event.key] = stored.event_id
                    by_id[stored.event_id] = stored
            return [
                by_id[event_id]
                for key, event_id in newest.items()
                if wanted is None or key[0] != MEMBER or key[1] in wanted
            ]
        changes = await self._store.list_state_changes(room.room_id, after, up_to)
        newest = {key: changed_to for _, key, changed_to in changes if changed_to is not None}
        chosen = [
            event_id for key, event_id in newest.items() if wanted is None or key[0] != MEMBER or key[1] in wanted
        ]
        return await self._events.find_events(room.room_id, room.version, chosen) if chosen else []

    async def member_changes(self, room: LiveRoom, after: int, up_to: int) -> list[StoredEvent]:
        """The member events of (after, up_to], each with what it replaced."""
        recent = room.recent(after) if room.resolved_at <= after else None
        if recent is not None:
            return [stored for stored in recent if stored.event.type == MEMBER and stored.position <= up_to]
        changes = await self._store.list_state_changes(room.room_id, after, up_to, event_type=MEMBER)
        ids = [event_id for _, _, event_id in changes if event_id is not None]
        return await self._events.find_events(room.room_id, room.version, ids) if ids else []

    async def was_joined_at(self, room_id: str, version_room: LiveRoom, user_id: str, position: int) -> bool:
        """Whether the user was in the room just after a position."""
        ids = await self._store.list_state_ids_at(room_id, position, keys=[(MEMBER, user_id)])
        if not ids:
            return False
        found = await self._events.find_events(room_id, version_room.version, list(ids.values()))
        return bool(found) and found[0].event.content.get("membership") == "join"


def _unseen(shown: Iterable[tuple[StoredEvent, str]], looked_at: Iterable[StoredEvent]) -> dict[StateKey, StoredEvent]:
    """The newest value of each key that changed among `looked_at` and not among those that are shown."""
    said = {stored.event.key for stored, _ in shown if stored.event.state_key is not None}
    return {
        stored.event.key: stored
        for stored in looked_at
        if stored.event.state_key is not None and stored.event.key not in said
    }


def _with_unseen(found: list[StoredEvent], window: Window, members: frozenset[str] | None) -> list[StoredEvent]:
    """`found` with what the window hides in place of what that replaced; of members only these, or all for None."""
    if not window.unseen:
        return found
    kept = [stored for stored in found if stored.event.key not in window.unseen]
    return kept + [
        stored
        for (event_type, state_key), stored in window.unseen.items()
        if members is None or event_type != MEMBER or state_key in members
    ]
