"""What rooms do when something happens to a user, and what they tell users/ of who knows whom."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from homeserver.protocol.errors import MatrixError
from homeserver.rooms.carried_settings import CarriedSettings
from homeserver.rooms.services import RoomServices
from homeserver.users.services import UserServices


class RoomAcquaintances:
    """Who shares rooms with whom."""

    def __init__(self, rooms: RoomServices) -> None:
        self._rooms = rooms

    async def share_room_with(self, user_id: str, others: Collection[str]) -> set[str]:
        """Those of `others` who are joined to a room to which `user_id` is joined."""
        return await self._rooms.store.list_sharing(user_id, list(others))

    async def in_public_rooms(self, others: Collection[str]) -> set[str]:
        """Those of `others` who are joined to a room that anybody may join or read."""
        found: set[str] = set()
        for other in others:
            for room_id in await self._rooms.memberships.joined_rooms(other):
                room = await self._rooms.live.find(room_id)
                if room is not None and (room.join_rule == "public" or room.history_visibility == "world_readable"):
                    found.add(other)
                    break
        return found


def follow_users(users: UserServices, rooms: RoomServices) -> None:
    """Let rooms hear of changed profiles and ended accounts, and users' settings follow them into upgraded rooms."""

    async def profile_changed(user_id: str, field: str, profile: Mapping[str, Any]) -> None:
        if field in ("displayname", "avatar_url"):
            await rooms.memberships.refresh_profile(user_id)

    async def deactivated(user_id: str, erase: bool) -> None:
        await rooms.delayed_events.forget_user(user_id)
        await rooms.thread_subscriptions.forget_user(user_id)
        for row in await rooms.memberships.memberships(user_id):
            if row.membership in ("join", "invite", "knock"):
                try:
                    await rooms.memberships.leave(user_id, row.room_id)
                except MatrixError:
                    continue

    carried = CarriedSettings(
        rooms=rooms.live,
        store=rooms.store,
        account_data=users.account_data,
        tags=users.tags,
        push_rules=users.push_rules,
    )
    rooms.memberships.joined.append(carried.carry)
    users.hooks.profile_changed.append(profile_changed)
    users.hooks.deactivated.append(deactivated)
    users.hooks.acquaintances = RoomAcquaintances(rooms)
