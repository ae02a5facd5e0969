"""Knocking: a user of ours at a room elsewhere, and users of others at rooms here.

Spec: Server-Server API, "Knocking upon a room".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from federation.client import RemoteFailed, RemoteRefused
from federation.membership_events import MembershipEvents, shown_state
from federation.missing_events import MissingEvents
from homeserver.protocol.errors import BadJson, Forbidden, MatrixError, NotFound
from homeserver.rooms.invites_from_elsewhere import InvitesFromElsewhere


class Knocking:
    """Both sides."""

    def __init__(self, *, events: MembershipEvents, missing: MissingEvents, invites: InvitesFromElsewhere) -> None:
        self._events = events
        self._missing = missing
        self._invites = invites

    async def knock(self, user_id: str, room_id: str, content: dict[str, Any], servers: Sequence[str]) -> str:
        """Knock by way of the first of `servers` that takes it. Returns the room's id."""
        failure: MatrixError = NotFound("No server was named that could take the knock")
        for server in servers:
            try:
                event = await self._events.make(server, "knock", room_id, user_id, {**content, "membership": "knock"})
                answer = await self._events.send(server, "/_matrix/federation/v1/send_knock/{}/{}", event)
            except (RemoteFailed, BadJson, Forbidden) as error:
                failure = error.as_answer() if isinstance(error, RemoteRefused) else error
                continue
            told = answer.get("knock_room_state") if isinstance(answer, dict) else None
            await self._invites.add(event, told)
            return room_id
        raise failure

    async def make_knock(self, origin: str, room_id: str, user_id: str, versions: Sequence[str]) -> dict[str, Any]:
        """`GET /make_knock`."""
        room = await self._events.resident_room(origin, room_id)
        allowed = ("knock", "knock_restricted") if room.version.knock_restricted else ("knock",)
        if not room.version.knock or room.join_rule not in allowed:
            raise Forbidden("Nobody may knock at this room")
        if room.membership(user_id) in ("ban", "invite", "join"):
            raise Forbidden("The user may not knock at this room")
        return await self._events.template(origin, room_id, user_id, {"membership": "knock"}, versions)

    async def send_knock(self, origin: str, room_id: str, event_id: str, pdu: Any) -> dict[str, Any]:
        """`PUT /send_knock`."""
        room, event = await self._events.take(origin, room_id, event_id, pdu, "knock")
        self._events.accept(origin, await self._missing.receive(origin, event))
        return {"knock_room_state": shown_state(room)}
