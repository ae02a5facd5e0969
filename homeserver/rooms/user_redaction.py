"""Redacting everything that a user sent, by an operator's will.

Local users redact their own events as long as they are in the room; where they are not, or belong to another server,
the administrator who asked does, or a local member with the power to.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from homeserver.protocol.errors import Forbidden, InvalidParam, MatrixError
from homeserver.protocol.identifiers import domain_of
from homeserver.rooms.background_tasks import BackgroundTasks, Report
from homeserver.rooms.live_room import LiveRoom, LiveRooms
from homeserver.rooms.membership import Memberships
from homeserver.rooms.sending import Sending
from homeserver.storage.background_tasks import BackgroundTask
from homeserver.storage.purges import PurgeStore
from homeserver.users.requester import Requester

ACTION: Final = "redact_all_events"
LIMIT: Final = 1000
"""Events of one room, unless another number is given."""


class UserRedaction:
    """Redacts, as background tasks."""

    def __init__(
        self,
        *,
        rooms: LiveRooms,
        store: PurgeStore,
        memberships: Memberships,
        sending: Sending,
        tasks: BackgroundTasks,
        server_name: str,
    ) -> None:
        self._rooms = rooms
        self._store = store
        self._memberships = memberships
        self._sending = sending
        self._tasks = tasks
        self._server_name = server_name
        tasks.register(ACTION, self._work)

    async def begin(
        self,
        user_id: str,
        requester: str,
        rooms: Sequence[str],
        *,
        reason: str | None = None,
        limit: int = LIMIT,
        use_admin: bool = False,
        after_ms: int | None = None,
        before_ms: int | None = None,
    ) -> str:
        """Start it for these rooms, or for all that the user was ever in; the number of the task."""
        for task in await self._tasks.list_tasks(resource_id=user_id, action=ACTION):
            if task.status in ("scheduled", "active"):
                raise InvalidParam("The events of this user are being redacted already.")
        wanted = list(rooms) or [row.room_id for row in await self._memberships.memberships(user_id)]
        return await self._tasks.add(
            ACTION,
            user_id,
            {
                "rooms": wanted,
                "requester": requester,
                "reason": reason,
                "limit": limit,
                "use_admin": use_admin,
                "after_ms": after_ms,
                "before_ms": before_ms,
            },
        )

    async def _work(self, task: BackgroundTask, report: Report) -> Mapping[str, Any]:
        user_id, params = task.resource_id, task.params
        failed: dict[str, str] = {}
        redacted = 0
        for room_id in params["rooms"]:
            room = await self._rooms.find(room_id)
            if room is None:
                continue
            content = {} if params["reason"] is None else {"reason": params["reason"]}
            events = await self._store.list_events_of(
                room_id, user_id, after_ms=params["after_ms"], before_ms=params["before_ms"], limit=params["limit"]
            )
            for event_id in events:
                try:
                    redactor = self._redactor(room, user_id, params["requester"], use_admin=params["use_admin"])
                    await self._sending.redact(
                        Requester(redactor), room_id, event_id, f"redact.{secrets.token_urlsafe(9)}", content
                    )
                    redacted += 1
                except MatrixError as error:
                    failed[event_id] = error.message
            await report({"failed_redactions": failed, "redacted": redacted})
        return {"failed_redactions": failed, "redacted": redacted}

    def _redactor(self, room: LiveRoom, user_id: str, admin: str, *, use_admin: bool) -> str:
        """Who is to send the redactions. Raises Forbidden when nobody of this server may."""
        levels = room.power_levels
        if use_admin:
            return admin
        if domain_of(user_id) == self._server_name and room.membership(user_id) == "join":
            return user_id
        if room.membership(admin) == "join" and levels.of(admin) >= levels.redact:
            return admin
        for member in room.joined_members():
            if domain_of(member) == self._server_name and levels.of(member) >= levels.redact:
                return member
        raise Forbidden("No user of this server may redact this event.")
