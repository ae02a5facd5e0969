"""One room of a sliding sync answer: what is new of it since the client was last told, or all that it asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver.protocol.filters import DEFAULT_ROOM_EVENT_FILTER
from homeserver.push.unread_counts import UnreadCounts
from homeserver.rooms.live_room import MEMBER, LiveRoom, LiveRooms
from homeserver.rooms.tokens import place_after
from homeserver.rooms.visibility import RoomVisibility
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.receipts import Receipt
from homeserver.storage.rooms import Membership
from homeserver.sync.request import SyncRun
from homeserver.sync.room_window import RoomWindows, Window
from homeserver.sync.sliding.connections import LIVE, WHOLE_TIMELINE, SentRoom
from homeserver.sync.sliding.lists import Wanted
from homeserver.sync.sliding.required_state import NOTHING
from homeserver.sync.streams.invites import InviteSection
from homeserver.sync.streams.joined_rooms import JoinedRoomSection
from homeserver.sync.summary import heroes

EMPTY = SentRoom(LIVE, 0, NOTHING)


@dataclass(frozen=True, slots=True)
class RoomTask:
    """What to tell of a room. `after`: the place up to which the client has it, None for nothing of it;
    `known_members`: the member events that the client has; `own_receipts`: of the reader, where somebody has read them
    already."""

    membership: Membership
    wanted: Wanted
    sent: SentRoom | None
    after: int | None
    is_direct: bool
    known_members: dict[str, str]
    bump: int
    own_receipts: Sequence[Receipt] | None = None


@dataclass(slots=True)
class RoomAnswer:
    """`body`: None when nothing is new. `sent`: what the client has with it. `event_ids`: of the timeline. `whole`:
    the client begins anew with the room, or with its timeline. `flushes`: it forgets which members it had."""

    body: dict[str, Any] | None
    sent: SentRoom
    members: dict[str, str] = field(default_factory=dict)
    event_ids: Collection[str] = ()
    whole: bool = False
    flushes: bool = False


class RoomAnswers:
    """Makes them."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        events: EventStore,
        windows: RoomWindows,
        visibility: RoomVisibility,
        counts: UnreadCounts,
        joined: JoinedRoomSection,
        invites: InviteSection,
    ) -> None:
        self._rooms = rooms
        self._events = events
        self._windows = windows
        self._visibility = visibility
        self._counts = counts
        self._joined = joined
        self._invites = invites

    async def of_room(self, run: SyncRun, task: RoomTask) -> RoomAnswer:
        """What is new of a room."""
        room = await self._rooms.find(task.membership.room_id)
        sent = SentRoom(LIVE, task.wanted.events, task.wanted.state, task.is_direct)
        if room is None:
            return RoomAnswer(None, sent)
        membership = task.membership.membership
        if membership in ("invite", "knock"):
            return await self._outside(run, task, sent)
        if membership == "join":
            return await self._inside(run, room, task, run.now.position, is_joined=True)
        left_at = (await self._visibility.view(room, run.user_id)).left_at
        if left_at is None:
            return await self._refused(run, room, task, sent)
        return await self._inside(run, room, task, min(left_at, run.now.position), is_joined=False)

    async def _outside(self, run: SyncRun, task: RoomTask, sent: SentRoom) -> RoomAnswer:
        """The user is invited or knocks."""
        if task.after is not None and task.membership.position <= task.after:
            changes = task.sent is not None and task.sent.is_direct != task.is_direct
            return RoomAnswer({"is_dm": task.is_direct} if changes else None, sent)
        events = await self._invites.stripped(task.membership.room_id, run.user_id)
        body: dict[str, Any] = {
            "initial": True,
            "bump_stamp": task.membership.position,
            "invite_state": events,
        }
        if task.membership.membership == "knock":
            body["knock_state"] = events
        if task.is_direct:
            body["is_dm"] = True
        return RoomAnswer({**_no_counts(), **body}, sent)

    async def _refused(self, run: SyncRun, room: LiveRoom, task: RoomTask, sent: SentRoom) -> RoomAnswer:
        """The user was never in the room: an invite or a knock has ended. They see that and no more (G02)."""
        if task.after is not None and task.membership.position <= task.after:
            return RoomAnswer(None, sent)
        own = await self._own_event(room, task.membership)
        events = await self._joined.state_events(run, room, own)
        body = {"initial": True, "bump_stamp": task.membership.position, "required_state": events}
        return RoomAnswer({**_no_counts(), **body}, sent)

    async def _inside(self, run: SyncRun, room: LiveRoom, task: RoomTask, end: int, *, is_joined: bool) -> RoomAnswer:
        """The user is in the room, or was until `end`."""
        after = task.after
        if after is not None and is_joined and task.membership.position > after:
            after = None  # came in since, or came back
        before = EMPTY if after is None or task.sent is None else task.sent
        grows = task.wanted.events > before.events
        window = await self._windows.look(
            room,
            run.user_id,
            after=None if after is None or grows else after,
            up_to=end,
            limit=task.wanted.events,
            event_filter=DEFAULT_ROOM_EVENT_FILTER,
            ignored=run.ignored,
            was_joined=is_joined and after is not None and not grows,
        )
        state, members = await self._state(run, room, task, window, after, end, is_joined=is_joined)
        is_expanded = after is not None and grows and bool(window.events)
        body: dict[str, Any] = {}
        if after is None:
            body["initial"] = True
        elif is_expanded:
            body["unstable_expanded_timeline"] = True
        if state:
            body["required_state"] = await self._joined.state_events(run, room, state)
        new = sum(stored.position > run.after for stored, _ in window.events) if run.since is not None else 0
        if window.events:
            body["timeline"] = await self._joined.events(run, room, window.events)
        if window.events or after is None or window.limited:
            # What is told again is not to be appended to what the client has; matrix-js-sdk knows that by `limited`.
            limited = window.limited or is_expanded
            body |= {"limited": limited, "prev_batch": place_after(window.start), "num_live": new}
        await self._add_summary(body, run, room, window, after, end, is_joined=is_joined)
        was_direct = after is not None and task.sent is not None and task.sent.is_direct
        if task.is_direct != was_direct:
            body["is_dm"] = task.is_direct
        bump = task.bump if is_joined else task.membership.position
        if after is None or bump > after:
            body["bump_stamp"] = bump
        if is_joined:
            await self._add_counts(body, run, room, task)
        events = task.wanted.events
        if not window.limited and (after is None or grows):
            events = WHOLE_TIMELINE
        elif not window.limited and not grows:
            events = max(before.events, events)
        return RoomAnswer(
            body or None,
            SentRoom(LIVE, events, task.wanted.state, task.is_direct),
            members,
            frozenset(stored.event_id for stored, _ in window.events),
            after is None or grows,
            after is None or window.limited,
        )

    # ---- state

    async def _state(
        self,
        run: SyncRun,
        room: LiveRoom,
        task: RoomTask,
        window: Window,
        after: int | None,
        end: int,
        *,
        is_joined: bool,
    ) -> tuple[list[StoredEvent], dict[str, str]]:
        """(the state to tell, the member events among it that were loaded lazily)."""
        wanted = task.wanted.state
        before = NOTHING if after is None or task.sent is None else task.sent.state
        shown = _people_of(window) if wanted.is_lazy else set()
        known = {} if after is None or window.limited else task.known_members
        nothing = Window([], end, False, [])
        found: dict[tuple[str, str], StoredEvent] = {}
        whole = after is None or not wanted.is_within(before)
        if whole:
            users = None if wanted.all_members else wanted.members | shown
            for stored in await self._windows.state_before(room, nothing, end, members=users):
                if after is None or not before.wants(stored.event.key):
                    found[stored.event.key] = stored
        changed: list[StoredEvent] = []
        if after is not None:
            all_changes = wanted.all_members or (wanted.is_lazy and not window.limited)
            changed = await self._windows.state_between(
                room, after, end, members=None if all_changes else wanted.members | shown
            )
            found.update((stored.event.key, stored) for stored in changed)
            missing = [user_id for user_id in shown if (MEMBER, user_id) not in found and user_id not in known]
            if missing and is_joined:
                loaded = await self._rooms.load_member_events(room, missing)
                found.update(((MEMBER, user_id), stored) for user_id, stored in loaded.items())
            elif missing:
                state = await self._windows.state_before(room, nothing, end, members=missing)
                found.update((one.event.key, one) for one in state if one.event.type == MEMBER)
        lazy: dict[str, str] = {}
        told: list[StoredEvent] = []
        news = {stored.event_id for stored in changed}
        for key, stored in found.items():
            is_wanted = wanted.wants(key)
            if key[0] == MEMBER and wanted.is_lazy and not is_wanted:
                is_known = known.get(key[1]) == stored.event_id
                is_wanted = (key[1] in shown and not is_known) or (stored.event_id in news and not window.limited)
            if not is_wanted:
                continue
            told.append(stored)
            if key[0] == MEMBER and wanted.is_lazy:
                lazy[key[1]] = stored.event_id
        if not is_joined and (after is None or task.membership.position > after):
            own = await self._own_event(room, task.membership)
            told = [stored for stored in told if stored.event.key != (MEMBER, run.user_id)] + own
        return told, lazy

    async def _own_event(self, room: LiveRoom, membership: Membership) -> list[StoredEvent]:
        return await self._events.find_events(room.room_id, room.version, [membership.event_id])

    # ---- what stands beside the events

    async def _add_summary(
        self,
        body: dict[str, Any],
        run: SyncRun,
        room: LiveRoom,
        window: Window,
        after: int | None,
        end: int,
        *,
        is_joined: bool,
    ) -> None:
        """Name, picture, heroes and the numbers of members, where they may have changed."""
        if after is None:
            changed = None
        else:
            recent = room.recent(after) if room.resolved_at <= after else None
            changed = None if recent is None else {stored.event.type for stored in recent if stored.event.is_state}
        if after is None or changed is None or "m.room.name" in changed or "m.room.avatar" in changed:
            values = await self._values(room, end, is_joined=is_joined)
            for event_type, member, name in (("m.room.name", "name", "name"), ("m.room.avatar", "url", "avatar")):
                if after is not None and changed is not None and event_type not in changed:
                    continue
                value = values.get(event_type, {}).get(member)
                if isinstance(value, str) and value:
                    body[name] = value
                elif after is not None:
                    body[name] = None
        if not is_joined or (changed is not None and MEMBER not in changed and "m.room.name" not in changed):
            return
        if changed is None or MEMBER in changed:
            body["joined_count"], body["invited_count"] = room.joined_count, room.invited_count
        if not room.content("m.room.name").get("name"):
            body["heroes"] = await self._heroes(room, run.user_id)

    async def _values(self, room: LiveRoom, end: int, *, is_joined: bool) -> dict[str, Any]:
        types = ("m.room.name", "m.room.avatar")
        if is_joined:
            return {event_type: room.content(event_type) for event_type in types}
        state = await self._windows.state_before(room, Window([], end, False, []), end, members=())
        return {one.event.type: one.event.content for one in state if one.event.type in types}

    async def _heroes(self, room: LiveRoom, user_id: str) -> list[dict[str, Any]]:
        chosen = heroes(room, user_id)
        events = await self._rooms.load_member_events(room, chosen)
        found: list[dict[str, Any]] = []
        for hero in chosen:
            one = {"user_id": hero}
            content = events[hero].event.content if hero in events else {}
            for name in ("displayname", "avatar_url"):
                if isinstance(content.get(name), str):
                    one[name] = content[name]
            found.append(one)
        return found

    async def _add_counts(self, body: dict[str, Any], run: SyncRun, room: LiveRoom, task: RoomTask) -> None:
        counts = await self._counts.of_room(
            run.user_id,
            room,
            run.now.position,
            own_receipts=task.own_receipts,
            joined_at=task.membership.position,
        )
        body["notification_count"] = counts.everything.notifications
        body["highlight_count"] = counts.everything.highlights


def _people_of(window: Window) -> set[str]:
    """Whom a timeline shows: who sent its events, and whom they make members."""
    events: Iterable[StoredEvent] = (stored for stored, _ in window.events)
    found: set[str] = set()
    for stored in events:
        found.add(stored.event.sender)
        if stored.event.type == MEMBER and stored.event.state_key is not None:
            found.add(stored.event.state_key)
    return found


def _no_counts() -> dict[str, Any]:
    return {"notification_count": 0, "highlight_count": 0}
