"""Reading a room's state: all of it, one entry, its members; now, or when the reader left. Spec: "Getting events"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from homeserver.protocol.errors import Forbidden, NotFound, NotInRoom
from homeserver.rooms.client_events import EventSerializer, Reader
from homeserver.rooms.live_room import MEMBER, LiveRoom, LiveRooms
from homeserver.rooms.visibility import RoomVisibility
from homeserver.storage.events import EventStore, StoredEvent
from homeserver.storage.rooms import RoomStore


class RoomState:
    """Answers questions about the state of rooms, for those who may ask."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        store: RoomStore,
        events: EventStore,
        visibility: RoomVisibility,
        serializer: EventSerializer,
    ) -> None:
        self._rooms = rooms
        self._store = store
        self._events = events
        self._visibility = visibility
        self._serializer = serializer

    async def list_state(self, reader: Reader, room_id: str) -> list[msgspec.Raw]:
        """The state as the reader may see it: current for members, of the moment of leaving for those who left. Waits
        for all of it in a room that was just joined elsewhere; raises Unavailable when that takes too long."""
        room, place = await self._readable(reader.user_id, room_id, whole=True)
        found = await self._rooms.state(room) if place is None else await self.state_at(room, place)
        return [self._serializer.serialize(stored, reader) for stored in sorted(found, key=lambda one: one.position)]

    async def get_state(self, user_id: str, room_id: str, event_type: str, state_key: str) -> StoredEvent:
        """One entry of the state. Raises NotFound when there is none, Forbidden for outsiders."""
        room, place = await self._readable(user_id, room_id)
        if place is not None:
            ids = await self._store.list_state_ids_at(room_id, place, keys=[(event_type, state_key)])
            found = await self._events.find_events(room_id, room.version, list(ids.values()))
            stored = found[0] if found else None
        elif event_type == MEMBER:
            if room.partial is not None and (MEMBER, state_key) not in room.state_ids:
                room = await self._rooms.whole(room_id)
            stored = await self._rooms.member_event(room, state_key)
        else:
            stored = room.state_event(event_type, state_key)
        if stored is None:
            raise NotFound("The room has no such state")
        return stored

    async def list_members(
        self,
        reader: Reader,
        room_id: str,
        *,
        at: int | None = None,
        membership: str | None = None,
        not_membership: str | None = None,
    ) -> list[msgspec.Raw]:
        """The member events, now or just after a place (not later than the reader may see, G01). Waits as
        `list_state` does."""
        room, place = await self._readable(reader.user_id, room_id, whole=True)
        if at is not None:
            if at < room.last_position and not (await self._visibility.view(room, reader.user_id)).shows_place(at):
                raise Forbidden("You may not see who was in the room then")
            place = at if place is None else min(at, place)
        if place is None or place >= room.last_position:
            users = [key[1] for key in room.state_ids if key[0] == MEMBER]
            found = list((await self._rooms.load_member_events(room, users)).values())
        else:
            found = [stored for stored in await self.state_at(room, place) if stored.event.type == MEMBER]
        return [
            self._serializer.serialize(stored, reader)
            for stored in sorted(found, key=lambda one: one.position)
            if (membership is None or stored.event.content.get("membership") == membership)
            and (not_membership is None or stored.event.content.get("membership") != not_membership)
        ]

    async def joined_members(self, user_id: str, room_id: str, *, may_peek: bool = False) -> dict[str, dict[str, Any]]:
        """Who is in the room, with name and picture. For members (and application services of members) only. Waits as
        `list_state` does."""
        room = await self._rooms.find(room_id)
        if room is None or (room.membership(user_id) != "join" and not may_peek):
            raise NotInRoom()
        if room.partial is not None:
            room = await self._rooms.whole(room_id)
        members = await self._rooms.load_member_events(room, list(room.joined_members()))
        return {member: member_profile(stored.event.content) for member, stored in members.items()}

    async def state_at(self, room: LiveRoom, place: int) -> list[StoredEvent]:
        """The state events of a room just after a place."""
        ids = await self._store.list_state_ids_at(room.room_id, place)
        return await self._events.find_events(room.room_id, room.version, list(ids.values()))

    async def _readable(self, user_id: str, room_id: str, *, whole: bool = False) -> tuple[LiveRoom, int | None]:
        """The room, and the place up to which the reader may see its state (None: all of it). `whole`: with all of
        its state."""
        room = await self._rooms.find(room_id)
        if room is not None:
            if room.membership(user_id) == "join" or room.history_visibility == "world_readable":
                return (await self._rooms.whole(room_id) if whole and room.partial is not None else room), None
            membership = await self._store.find_membership(room_id, user_id)
            if membership is not None and membership.membership != "invite" and not membership.forgotten:
                # The end of the last stay, not the newest membership: whoever left may have been banned long after.
                left_at = (await self._visibility.view(room, user_id)).left_at
                if left_at is not None:
                    return room, left_at
        raise NotInRoom()


def member_profile(content: Mapping[str, Any]) -> dict[str, Any]:
    """The profile members of a member event, where they are strings."""
    profile: dict[str, Any] = {}
    if isinstance(content.get("displayname"), str):
        profile["display_name"] = content["displayname"]
    if isinstance(content.get("avatar_url"), str):
        profile["avatar_url"] = content["avatar_url"]
    return profile
