"""Rooms that the user left, was kicked or banned from: what the user saw until then, and no event more (G03)."""

from __future__ import annotations

from dataclasses import replace

from homeserver.rooms.live_room import LiveRoom, LiveRooms, membership_of
from homeserver.rooms.tokens import place_after
from homeserver.rooms.visibility import RoomVisibility
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.rooms import Membership
from homeserver.sync.request import SyncRun
from homeserver.sync.room_window import RoomWindows, Window
from homeserver.sync.streams.joined_rooms import JoinedRoomSection
from homeserver.users.invite_permissions import InvitePermissions


class LeftRoomSection:
    """`rooms.leave`."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        events: EventStore,
        windows: RoomWindows,
        visibility: RoomVisibility,
        joined: JoinedRoomSection,
        permissions: InvitePermissions,
        limit_default: int = 10,
        limit_max: int = 100,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._windows = windows
        self._visibility = visibility
        self._joined = joined
        self._permissions = permissions
        self._limit_default = limit_default
        self._limit_max = limit_max

    async def add_to(self, run: SyncRun) -> None:
        wanted = run.request.filter.room
        everything = wanted.include_leave and run.request.full_state
        for newest in run.memberships.rows if everything else run.memberships.news(run.after):
            membership = await self._shown(run, newest)
            if membership.membership not in ("leave", "ban") or membership.position > run.now.position:
                continue
            is_news = not run.is_initial and membership.position > run.after
            if not (is_news or (wanted.include_leave and (run.is_initial or run.request.full_state))):
                continue
            if wanted.allows_room(membership.room_id):
                await self._add_room(run, membership)

    async def _shown(self, run: SyncRun, newest: Membership) -> Membership:
        """The newest membership; behind an invite that is not shown, the end that came before."""
        if newest.membership != "invite" or newest.position <= run.after:
            return newest
        if not await self._permissions.hides(run.user_id, newest.sender):
            return newest
        invite = await self._own_event(newest.room_id, newest)
        if invite is None or invite.replaces is None:
            return newest
        before = replace(newest, membership=membership_of(invite.replaces), event_id=invite.replaces.event_id)
        own = await self._own_event(newest.room_id, before)
        return newest if own is None else replace(before, sender=own.event.sender, position=own.position)

    async def _add_room(self, run: SyncRun, membership: Membership) -> None:
        room = await self._rooms.find(membership.room_id)
        if room is None:
            if not run.is_initial:  # an invite or a knock is over, in a room that only other servers know
                run.rooms.setdefault("leave", {})[membership.room_id] = {
                    "timeline": {"events": [], "limited": False, "prev_batch": place_after(membership.position)},
                    run.request.state_after_name if run.request.use_state_after else "state": {"events": []},
                }
            return
        left_at = (await self._visibility.view(room, run.user_id)).left_at
        after = None if run.is_initial or run.request.full_state else run.after
        was_joined = after is not None and await self._windows.was_joined_at(room.room_id, room, run.user_id, after)
        event_filter = run.request.filter.room.timeline
        limit = event_filter.limit_within(self._limit_default, self._limit_max)
        window = await self._windows.look(
            room,
            run.user_id,
            after=after,
            up_to=membership.position if left_at is None else left_at,
            limit=limit,
            event_filter=event_filter,
            ignored=run.ignored,
            was_joined=False,
        )
        events = window.events
        own = None
        if not any(stored.event_id == membership.event_id for stored, _ in events) and limit:
            own = await self._own_event(room.room_id, membership)
            if own is not None and event_filter.matches_event(own.event):
                events = [*events, (own, membership.membership)][-limit:]
        state = await self._state(run, room, window, after if was_joined else None, left_at)
        if own is not None and run.request.use_state_after:  # who asks so reads no state from the timeline
            state = [*(one for one in state if one.event.key != own.event.key), own]
        run.rooms.setdefault("leave", {})[room.room_id] = {
            "timeline": {
                "events": await self._joined.events(run, room, events),
                "limited": window.limited,
                "prev_batch": place_after(window.start),
            },
            run.request.state_after_name if run.request.use_state_after else "state": {
                "events": await self._joined.state_events(
                    run, room, [one for one in state if run.request.filter.room.state.matches_event(one.event)]
                )
            },
        }

    async def _state(
        self, run: SyncRun, room: LiveRoom, window: Window, known: int | None, left_at: int | None
    ) -> list[StoredEvent]:
        """The room's state as the user left it, or what changed since the place that is `known`; nothing to those who
        were never in the room, such as whoever declined an invite (G02), nor after they left (G03)."""
        whole = run.is_initial or run.request.full_state
        if left_at is None or (known is None and not whole and left_at <= run.after):
            return []
        if run.request.use_state_after:
            if known is not None:
                return await self._windows.state_between(room, known, left_at, members=None)
            return await self._windows.state_before(room, Window([], left_at, False, []), left_at, members=None)
        if known is not None:
            return await self._windows.state_since(room, window, known, left_at, members=None)
        return await self._windows.state_before(room, window, left_at, members=None)

    async def _own_event(self, room_id: str, membership: Membership) -> StoredEvent | None:
        room = await self._rooms.find(room_id)
        if room is None:  # an invite into a room that only other servers know
            return None
        found = await self._events.find_events(room_id, room.version, [membership.event_id])
        return found[0] if found else None
