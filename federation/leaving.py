"""Leaving rooms, and rejecting invites, by way of a server that is in the room.

Spec: Server-Server API, "Leaving Rooms (Rejecting Invites)".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from federation.client import RemoteFailed
from federation.membership_events import MembershipEvents
from federation.missing_events import MissingEvents
from homeserver.protocol.errors import BadJson, Forbidden, NotFound
from homeserver.protocol.identifiers import domain_of
from homeserver.rooms.invites_from_elsewhere import InvitesFromElsewhere
from homeserver.rooms.services import RoomServices
from homeserver.storage.rooms import Membership

SERVERS_MAX: Final = 5


class Leaving:
    """Both sides."""

    def __init__(
        self, *, events: MembershipEvents, missing: MissingEvents, rooms: RoomServices, invites: InvitesFromElsewhere
    ) -> None:
        self._events = events
        self._missing = missing
        self._rooms = rooms
        self._invites = invites

    async def leave(self, user_id: str, room_id: str, reason: str | None) -> None:
        """A user of ours leaves a room that this server is not in. An invite is gone even if nobody answers."""
        membership = await self._rooms.store.find_membership(room_id, user_id)
        if membership is None:
            raise NotFound("There is no such room")
        content: dict[str, Any] = {"membership": "leave"}
        if reason is not None:
            content["reason"] = reason
        for server in await self._servers(membership, room_id):
            try:
                event = await self._events.make(server, "leave", room_id, user_id, content)
                await self._events.send(
                    server, "/_matrix/federation/v2/send_leave/{}/{}", event, "/_matrix/federation/v1/send_leave/{}/{}"
                )
            except (RemoteFailed, BadJson, Forbidden):
                continue
            break
        await self._invites.end(user_id, room_id)

    async def _servers(self, membership: Membership, room_id: str) -> Sequence[str]:
        """Whom to tell: who invited, the room's own server, and those whose users are told of with the room (a room of
        version 12 names no server, and whoever knocks has nobody who invited)."""
        told = await self._invites.stripped_state(room_id, membership.user_id) or ()
        named = [membership.sender, room_id, *(one["sender"] for one in told)]
        names = dict.fromkeys(domain_of(one) for one in named if ":" in one)
        return [name for name in names if name != domain_of(membership.user_id)][:SERVERS_MAX]

    async def make_leave(self, origin: str, room_id: str, user_id: str) -> dict[str, Any]:
        """`GET /make_leave`."""
        room = await self._events.resident_room(origin, room_id)
        if room.membership(user_id) not in ("join", "invite", "knock"):
            raise Forbidden("The user is not in this room")
        return await self._events.template(origin, room_id, user_id, {"membership": "leave"})

    async def send_leave(self, origin: str, room_id: str, event_id: str, pdu: Any) -> dict[str, Any]:
        """`PUT /send_leave` v2."""
        _, event = await self._events.take(origin, room_id, event_id, pdu, "leave")
        self._events.accept(origin, await self._missing.receive(origin, event))
        return {}
