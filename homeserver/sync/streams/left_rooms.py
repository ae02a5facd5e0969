"""Rooms that the user left, was kicked or banned from: what the user saw until then, and no event more (G03)."""

from __future__ import annotations

from homeserver.rooms.live_room import LiveRooms
from homeserver.rooms.tokens import place_after
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.rooms import Membership
from homeserver.sync.request import SyncRun
from homeserver.sync.room_window import RoomWindows
from homeserver.sync.streams.joined_rooms import JoinedRoomSection


class LeftRoomSection:
    """`rooms.leave`."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        events: EventStore,
        windows: RoomWindows,
        joined: JoinedRoomSection,
        limit_default: int = 10,
        limit_max: int = 100,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._windows = windows
        self._joined = joined
        self._limit_default = limit_default
        self._limit_max = limit_max

    async def add_to(self, run: SyncRun) -> None:
        wanted = run.request.filter.room
        for membership in run.memberships:
            if membership.membership not in ("leave", "ban") or membership.position > run.now.position:
                continue
            is_news = not run.is_initial and membership.position > run.after
            if not (is_news or (wanted.include_leave and (run.is_initial or run.request.full_state))):
                continue
            if wanted.allows_room(membership.room_id):
                await self._add_room(run, membership)

    async def _add_room(self, run: SyncRun, membership: Membership) -> None:
        room = await self._rooms.find(membership.room_id)
        if room is None:
            return
        after = None if run.is_initial or run.request.full_state else run.after
        was_joined = after is not None and await self._windows.was_joined_at(room.room_id, room, run.user_id, after)
        event_filter = run.request.filter.room.timeline
        limit = event_filter.limit_within(self._limit_default, self._limit_max)
        window = await self._windows.look(
            room,
            run.user_id,
            after=after,
            up_to=membership.position,
            limit=limit,
            event_filter=event_filter,
            ignored=run.ignored,
            was_joined=False,
        )
        events = window.events
        if not any(stored.event_id == membership.event_id for stored, _ in events) and limit:
            own = await self._own_event(room.room_id, membership)
            if own is not None and event_filter.matches_event(own.event):
                events = [*events, (own, membership.membership)][-limit:]
        if not was_joined and not any(stored.event.sender != run.user_id for stored, _ in events) and after is not None:
            # An invite that was declined, or a knock: there is nothing of the room to show but that.
            state: list[StoredEvent] = []
        elif after is not None and was_joined:
            state = await self._windows.state_between(room, after, window.start, members=None)
        else:
            state = await self._windows.state_before(room, window, membership.position, members=None)
        run.rooms.setdefault("leave", {})[room.room_id] = {
            "timeline": {
                "events": await self._joined.events(run, room, events),
                "limited": window.limited,
                "prev_batch": place_after(window.start),
            },
            "state_after" if run.request.use_state_after else "state": {
                "events": await self._joined.state_events(
                    run, room, [one for one in state if run.request.filter.room.state.matches_event(one.event)]
                )
            },
        }

    async def _own_event(self, room_id: str, membership: Membership) -> StoredEvent | None:
        room = await self._rooms.get(room_id)
        found = await self._events.find_events(room_id, room.version, [membership.event_id])
        return found[0] if found else None
