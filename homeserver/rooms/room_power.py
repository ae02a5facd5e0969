"""Operators put users of this server into rooms, and hand out the highest power that a local member has."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from homeserver.protocol.errors import Forbidden, InvalidParam, NotFound
from homeserver.protocol.identifiers import domain_of
from homeserver.protocol.power_levels import INFINITE
from homeserver.rooms.live_room import LiveRoom, LiveRooms
from homeserver.rooms.membership import Memberships
from homeserver.rooms.pipeline import Draft, Pipeline
from homeserver.users.accounts import Accounts

POWER_LEVELS = "m.room.power_levels"


class RoomPower:
    """What needs somebody in the room who may do it: the operator's own power does not reach into rooms."""

    def __init__(
        self, *, rooms: LiveRooms, memberships: Memberships, pipeline: Pipeline, accounts: Accounts, server_name: str
    ) -> None:
        self._rooms = rooms
        self._memberships = memberships
        self._pipeline = pipeline
        self._accounts = accounts
        self._server_name = server_name

    async def join(self, requester: str, user_id: str, room_id: str) -> None:
        """Join a local user, invited by the requester, or by a member who may, where the room needs an invite. Raises
        InvalidParam, NotFound, Forbidden."""
        if domain_of(user_id) != self._server_name:
            raise InvalidParam("This endpoint can only be used with local users.")
        if not await self._accounts.exists(user_id):
            raise NotFound("User not found")
        room = await self._rooms.find(room_id)
        if room is not None and room.membership(user_id) not in ("join", "invite") and room.join_rule != "public":
            await self._memberships.invite(self._inviter(room, requester), room_id, user_id)
        await self._memberships.join(user_id, room_id)

    async def make_admin(self, room_id: str, user_id: str) -> None:
        """Give a user the highest power that a local member holds; invite the user who is not in the room. Raises
        NotFound, InvalidParam, Forbidden."""
        room = await self._rooms.find(room_id)
        if room is None:
            raise NotFound("This server does not know the room.")
        levels = room.power_levels
        local = [member for member in room.joined_members() if domain_of(member) == self._server_name]
        able = [member for member in local if levels.of(member) >= levels.needed_for(POWER_LEVELS, is_state=True)]
        if not able:
            raise InvalidParam("No local member of the room has the power to hand out power.")
        strongest = max(able, key=levels.of)
        current = room.state_event(POWER_LEVELS)
        content: dict[str, Any] = {} if current is None else deepcopy(dict(current.event.content))
        if current is None:
            content["users"] = {} if room.version.privileged_creators else {room.creator: 100}
        users = content.setdefault("users", {})
        wanted = levels.of(strongest)
        if wanted == INFINITE:  # nobody else can have the power of those who made the room
            given = max((level for level in users.values() if isinstance(level, int)), default=100)
            wanted = max(given, 100, levels.needed_for("m.room.tombstone", is_state=True))
        if levels.of(user_id) < wanted:
            users[user_id] = wanted
            await self._pipeline.send(room_id, Draft(strongest, POWER_LEVELS, content, state_key=""))
        if room.membership(user_id) in ("join", "invite") or room.join_rule == "public":
            return
        await self._memberships.invite(strongest, room_id, user_id)

    def _inviter(self, room: LiveRoom, requester: str) -> str:
        levels = room.power_levels
        if room.membership(requester) == "join" and levels.of(requester) >= levels.invite:
            return requester
        for member in room.joined_members():
            if domain_of(member) == self._server_name and levels.of(member) >= levels.invite:
                return member
        raise Forbidden("No user of this server may invite into the room.")
