"""Which rooms the lists and subscriptions of a request mean, and what is wanted of each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from homeserver.protocol.errors import NotFound
from homeserver.rooms.live_room import LiveRooms
from homeserver.rooms.visibility import RoomVisibility
from homeserver.storage.rooms import Membership
from homeserver.stream import Change, Stream
from homeserver.sync.request import SyncRun
from homeserver.sync.sliding.activity import RoomActivity
from homeserver.sync.sliding.connections import Sent
from homeserver.sync.sliding.request import ListConfig, RoomConfig, RoomFilters, SlidingSyncBody
from homeserver.sync.sliding.required_state import Pairs, RequiredState, pairs_of
from homeserver.users.account_data import AccountDataService
from homeserver.users.invite_permissions import InvitePermissions

REMEMBERED: Final = 10_000
SPACE_CHILD: Final = "m.space.child"
DIRECT: Final = "m.direct"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of one room."""

    events: int
    state: RequiredState


@dataclass(slots=True)
class Selection:
    """The rooms of an answer. `rooms`: all that the client knows of or may be told of, with the user's membership;
    `activity`: where they last changed; `wanted`: those that the request means; `windows`: of each list the rooms in
    its ranges; `lists`: what the answer says of the lists."""

    rooms: dict[str, Membership] = field(default_factory=dict)
    activity: dict[str, int] = field(default_factory=dict)
    direct: frozenset[str] = frozenset()
    wanted: dict[str, Wanted] = field(default_factory=dict)
    windows: dict[str, list[str]] = field(default_factory=dict)
    lists: dict[str, Any] = field(default_factory=dict)


class RoomLists:
    """Makes selections."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        visibility: RoomVisibility,
        activity: RoomActivity,
        account_data: AccountDataService,
        permissions: InvitePermissions,
        stream: Stream,
        events_max: int,
    ) -> None:
        self._rooms = rooms
        self._visibility = visibility
        self._activity = activity
        self._account_data = account_data
        self._permissions = permissions
        self._events_max = events_max
        self._direct: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._was_joined: OrderedDict[tuple[str, str], bool] = OrderedDict()
        self._forgotten = 0
        stream.listen(self._changed)

    async def select(self, run: SyncRun, body: SlidingSyncBody, sent: Sent) -> Selection:
        """The rooms that a request means, as they are at `run.now`."""
        chosen = Selection(direct=await self._direct_rooms(run))
        for row in run.memberships.rows:
            if row.position <= run.now.position and await self._is_known(run, row, sent):
                chosen.rooms[row.room_id] = row
        joined = [room_id for room_id, row in chosen.rooms.items() if row.membership == "join"]
        chosen.activity = {room_id: row.position for room_id, row in chosen.rooms.items()}
        chosen.activity.update(await self._activity.newest(joined))
        configs: dict[str, list[RoomConfig]] = {}
        if body.lists:
            newest_first = sorted(chosen.rooms, key=chosen.activity.__getitem__, reverse=True)
            for name, one in body.lists.items():
                self._add_list(chosen, configs, name, one, await self._filtered(run, chosen, newest_first, one.filters))
        others = {one.room_id: one for one in run.memberships.rows if one.room_id not in chosen.rooms}
        for room_id, config in (body.room_subscriptions or {}).items():
            if room_id not in chosen.rooms:
                other = others.get(room_id)
                if other is None or other.position > run.now.position or not await self._was_in(run, other):
                    continue
                chosen.rooms[room_id] = other
                chosen.activity[room_id] = other.position
            configs.setdefault(room_id, []).append(config)
        self._combine(run, chosen, configs)
        return chosen

    def _add_list(
        self,
        chosen: Selection,
        configs: dict[str, list[RoomConfig]],
        name: str,
        one: ListConfig,
        room_ids: Sequence[str],
    ) -> None:
        whole = one.ranges is None or bool(one.slow_get_all_rooms)
        ranges = [(0, max(0, len(room_ids) - 1))] if whole else list(one.ranges or ())
        window: dict[str, None] = {}
        operations = []
        for start, end in ranges:
            part = room_ids[start : end + 1]
            window |= dict.fromkeys(part)
            operations.append({"op": "SYNC", "range": [start, end], "room_ids": part})
        for room_id in window:
            configs.setdefault(room_id, []).append(one)
        chosen.windows[name] = list(window)
        chosen.lists[name] = {"count": len(room_ids), "ops": operations}

    def _combine(self, run: SyncRun, chosen: Selection, configs: Mapping[str, Sequence[RoomConfig]]) -> None:
        """One `Wanted` of all configs of a room. Most rooms share one."""
        pairs: dict[int, Pairs] = {}
        combined: dict[tuple[int, ...], Wanted] = {}
        for room_id, wanted in configs.items():
            key = tuple(id(config) for config in wanted)
            if key not in combined:
                for config in wanted:
                    if id(config) not in pairs:
                        pairs[id(config)] = pairs_of(config.required_state, run.user_id)
                events = min(self._events_max, max(config.timeline_limit for config in wanted))
                combined[key] = Wanted(events, RequiredState(pairs[one] for one in key))
            chosen.wanted[room_id] = combined[key]

    # ---- which rooms there are

    async def _is_known(self, run: SyncRun, row: Membership, sent: Sent) -> bool:
        if row.membership == "join" or row.membership == "knock":
            return True
        if row.membership == "invite":
            return not await self._permissions.hides(run.user_id, row.sender)
        if row.room_id in sent.rooms:
            return True
        return row.sender != run.user_id and await self._was_in(run, row)

    async def _was_in(self, run: SyncRun, row: Membership) -> bool:
        """Whether the user may be told of a room that is not among the known ones: they were in it, once."""
        if row.membership not in ("leave", "ban"):
            return row.membership != "invite"  # an invite that is hidden
        key = (run.user_id, row.event_id)
        known = self._was_joined.get(key)
        if known is None:
            room = await self._rooms.find(row.room_id)
            known = room is not None and (await self._visibility.view(room, run.user_id)).was_joined
            self._was_joined[key] = known
            if len(self._was_joined) > REMEMBERED:
                self._was_joined.popitem(last=False)
        return known

    async def _direct_rooms(self, run: SyncRun) -> frozenset[str]:
        known = self._direct.get(run.user_id)
        if known is not None:
            return known
        forgotten = self._forgotten
        try:
            content = await self._account_data.get_content(run.request.requester, run.user_id, "", DIRECT)
        except NotFound:
            content = {}
        lists = (rooms for rooms in content.values() if isinstance(rooms, list))
        found = frozenset(room_id for rooms in lists for room_id in rooms if isinstance(room_id, str))
        if forgotten == self._forgotten:
            self._direct[run.user_id] = found
            if len(self._direct) > REMEMBERED:
                self._direct.popitem(last=False)
        return found

    # ---- filters

    async def _filtered(
        self, run: SyncRun, chosen: Selection, room_ids: Sequence[str], filters: RoomFilters | None
    ) -> list[str]:
        found = list(room_ids)
        if filters is None:
            return found
        if filters.is_dm is not None:
            found = [room_id for room_id in found if (room_id in chosen.direct) == filters.is_dm]
        is_invite = filters.is_invite if filters.is_invite is not None else filters.is_invited
        if is_invite is not None:
            found = [one for one in found if (chosen.rooms[one].membership == "invite") == is_invite]
        if filters.spaces is not None:
            children = await self._children(run, filters.spaces)
            found = [room_id for room_id in found if room_id in children]
        if filters.tags is not None or filters.not_tags is not None:
            tags = await self._tags(run)
            wanted, unwanted = filters.tags, frozenset(filters.not_tags or ())
            found = [
                room_id
                for room_id in found
                if (wanted is None or not tags.get(room_id, frozenset()).isdisjoint(wanted))
                and tags.get(room_id, frozenset()).isdisjoint(unwanted)
            ]
        return await self._filtered_by_facts(found, filters)

    async def _filtered_by_facts(self, room_ids: list[str], filters: RoomFilters) -> list[str]:
        types = None if filters.room_types is None else frozenset(filters.room_types)
        not_types = frozenset(filters.not_room_types or ())
        like = (filters.room_name_like or "").casefold()
        if filters.is_encrypted is None and types is None and not not_types and not like:
            return room_ids
        facts = await self._activity.facts(room_ids)
        return [
            room_id
            for room_id in room_ids
            if (filters.is_encrypted is None or facts[room_id].is_encrypted == filters.is_encrypted)
            and (types is None or facts[room_id].room_type in types)
            and facts[room_id].room_type not in not_types
            and like in facts[room_id].name.casefold()
        ]

    async def _children(self, run: SyncRun, spaces: Iterable[str]) -> set[str]:
        """The rooms in these spaces, of those that the user is in."""
        found: set[str] = set()
        for space_id in spaces:
            if space_id not in run.joined:
                continue
            space = await self._rooms.find(space_id)
            if space is not None:
                found.update(
                    state_key
                    for (event_type, state_key), stored in space.pinned.items()
                    if event_type == SPACE_CHILD and isinstance(stored.event.content.get("via"), list)
                )
        return found

    async def _tags(self, run: SyncRun) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for change in await self._account_data.list_changes(run.user_id, 0, run.now.position):
            if change.type == "m.tag" and change.room_id:
                tags = msgspec.json.decode(change.content).get("tags")
                found[change.room_id] = frozenset(tags) if isinstance(tags, dict) else frozenset()
        return found

    def forget_all(self) -> None:
        """Another process may have written anything."""
        self._forgotten += 1
        self._direct.clear()

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is Change.ACCOUNT_DATA:
            self._forgotten += 1
            for user_id in users:
                self._direct.pop(user_id, None)
