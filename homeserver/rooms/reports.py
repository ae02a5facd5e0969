"""Reports of rooms, events and users. Spec: Client-Server API, "Reporting Content".

The answer is the same whether what is reported exists or not (G12): reports of what the reporter cannot know are
taken and dropped.
"""

from __future__ import annotations

import secrets

from homeserver.clock import Clock
from homeserver.protocol.errors import InvalidParam, NotFound
from homeserver.protocol.identifiers import parse_user_id
from homeserver.rooms.live_room import LiveRooms
from homeserver.rooms.timeline import Timeline
from homeserver.storage.database import Database
from homeserver.storage.reports import Report, ReportStore

MAX_REASON = 4_096


class Reports:
    """Takes reports for whoever runs the server."""

    def __init__(self, *, db: Database, store: ReportStore, rooms: LiveRooms, timeline: Timeline, clock: Clock) -> None:
        self._db = db
        self._store = store
        self._rooms = rooms
        self._timeline = timeline
        self._clock = clock

    async def report_room(self, reporter: str, room_id: str, reason: str) -> None:
        """A whole room, which the reporter need not be in."""
        _check_reason(reason)
        if await self._rooms.find(room_id) is not None:
            await self._keep(reporter, reason, room_id=room_id)

    async def report_event(self, reporter: str, room_id: str, event_id: str, reason: str) -> None:
        """An event that the reporter can see in a room that they are in."""
        _check_reason(reason)
        room = await self._rooms.find(room_id)
        if room is None or room.membership(reporter) != "join":
            return
        try:
            _, stored, _ = await self._timeline.find_visible(reporter, room_id, event_id)
        except NotFound:
            return
        await self._keep(reporter, reason, room_id=room_id, event_id=event_id, sender=stored.event.sender)

    async def report_user(self, reporter: str, user_id: str, reason: str) -> None:
        """A user, local or remote, existing or not: nobody is looked up."""
        _check_reason(reason)
        await self._keep(reporter, reason, user_id=parse_user_id(user_id))

    async def list_reports(self, limit: int = 100) -> list[Report]:
        """For whoever runs the server: the newest reports first."""
        return await self._store.list_reports(limit)

    async def _keep(
        self,
        reporter: str,
        reason: str,
        *,
        room_id: str | None = None,
        event_id: str | None = None,
        user_id: str | None = None,
        sender: str | None = None,
    ) -> None:
        now = self._clock.now_ms()
        report = Report(secrets.token_hex(16), now, reporter, room_id, event_id, user_id, reason, sender=sender)
        await self._db.write(lambda txn: self._store.add_report(txn, report))


def _check_reason(reason: str) -> None:
    if len(reason) > MAX_REASON:
        raise InvalidParam(f"'reason' has at most {MAX_REASON} characters.")
    if "\0" in reason:
        raise InvalidParam("'reason' must not hold U+0000.")
