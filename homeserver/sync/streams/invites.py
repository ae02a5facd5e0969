"""Rooms that the user is invited to, or knocks at. Spec: Client-Server API, "Stripped state"."""

from __future__ import annotations

from typing import Any, Final

from homeserver.rooms.client_events import stripped_state
from homeserver.rooms.invites_from_elsewhere import InvitesFromElsewhere
from homeserver.rooms.live_room import LiveRooms
from homeserver.sync.request import SyncRun
from homeserver.users.invite_permissions import InvitePermissions

SHOWN: Final = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)


class InviteSection:
    """`rooms.invite` and `rooms.knock`."""

    def __init__(self, rooms: LiveRooms, permissions: InvitePermissions, elsewhere: InvitesFromElsewhere) -> None:
        self._rooms = rooms
        self._elsewhere = elsewhere
        self._permissions = permissions

    async def add_to(self, run: SyncRun) -> None:
        for membership in run.memberships.news(run.after):
            if membership.membership not in ("invite", "knock") or membership.position > run.now.position:
                continue
            if membership.membership == "invite" and await self._permissions.hides(run.user_id, membership.sender):
                continue
            if not run.request.filter.room.allows_room(membership.room_id):
                continue
            name = "invite" if membership.membership == "invite" else "knock"
            events = await self.stripped(membership.room_id, run.user_id)
            run.rooms.setdefault(name, {})[membership.room_id] = {f"{name}_state": {"events": events}}

    async def stripped(self, room_id: str, user_id: str) -> list[dict[str, Any]]:
        """What somebody outside may see of a room that they were invited to."""
        told = await self._elsewhere.stripped_state(room_id, user_id)
        if told is not None:
            return told
        room = await self._rooms.get(room_id)
        shown = [stored.event for event_type in SHOWN if (stored := room.state_event(event_type)) is not None]
        own = await self._rooms.member_event(room, user_id)
        if own is None:
            return [stripped_state(event) for event in shown]
        if own.event.sender != user_id:
            inviter = await self._rooms.member_event(room, own.event.sender)
            if inviter is not None:
                shown.append(inviter.event)
        events = [stripped_state(event) for event in shown]
        member = {**stripped_state(own.event), "event_id": own.event_id}
        member["origin_server_ts"] = own.event.origin_server_ts
        return [*events, member]
