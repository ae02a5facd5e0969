"""Deleting the past of a room before a point. State stays, and so does the room's newest event."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from homeserver.protocol.errors import InvalidParam, NotFound
from homeserver.rooms.background_tasks import BackgroundTasks, Report
from homeserver.rooms.live_room import LiveRoom, LiveRooms
from homeserver.storage.background_tasks import BackgroundTask
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import EventStore
from homeserver.storage.purges import PurgeStore
from homeserver.storage.rooms import RoomStore

ACTION: Final = "purge_history"
CHUNK: Final = 200
"""Events of one write, so that nobody who writes waits long."""


class HistoryPurge:
    """Deletes messages, a few at a time."""

    def __init__(
        self,
        *,
        db: Database,
        rooms: LiveRooms,
        room_store: RoomStore,
        events: EventStore,
        store: PurgeStore,
        tasks: BackgroundTasks,
        server_name: str,
    ) -> None:
        self._db = db
        self._rooms = rooms
        self._room_store = room_store
        self._events = events
        self._store = store
        self._tasks = tasks
        self._server_name = server_name
        self.purged: list[Callable[[str], None]] = []
        """Called with the room's id when events of it are gone."""
        tasks.register(ACTION, self._work)

    async def begin(self, room_id: str, *, event_id: str | None, before_ms: int | None, local_too: bool) -> str:
        """Start to delete what came before an event, or before a time; the number of the task. Raises NotFound,
        InvalidParam. `local_too`: also messages of users of this server, of which there may be no other copy."""
        room = await self._rooms.find(room_id)
        if room is None:
            raise NotFound("This server does not know the room.")
        position: int | None = None
        if event_id is not None:
            found = await self._events.find_events(room_id, room.version, [event_id])
            if not found:
                raise NotFound("The event is not in the room.")
            position = found[0].position
        elif before_ms is None:
            raise InvalidParam("Name the event or the time before which the history is to be deleted.")
        for task in await self._tasks.list_tasks(resource_id=room_id, action=ACTION):
            if task.status in ("scheduled", "active"):
                raise InvalidParam("The history of this room is being deleted already.")
        params = {"before": position, "before_ms": before_ms, "local_too": local_too}
        return await self._tasks.add(ACTION, room_id, params)

    async def purge(
        self, room_id: str, *, before: int | None = None, before_ms: int | None = None, local_too: bool = True
    ) -> int:
        """Delete the messages before a position or a time; how many. None when the room is unknown."""
        removed = 0
        while True:
            room = await self._rooms.find(room_id)
            row = await self._room_store.find_room(room_id)
            if room is None or row is None:
                return removed
            found = await self._store.list_purgeable(
                room_id,
                before=before,
                before_ms=before_ms,
                not_of_server=None if local_too else self._server_name,
                keep=[str(head[0]) for head in row[2]],
                limit=CHUNK,
            )
            if not found:
                return removed
            await self._remove(room, found)
            removed += len(found)

    async def _remove(self, room: LiveRoom, found: list[tuple[int, str]]) -> None:
        positions = [position for position, _ in found]
        gone = {event_id for _, event_id in found}

        async def job(txn: Transaction) -> None:
            await self._store.remove_events(txn, positions)
            txn.on_commit(lambda: self._committed(room, gone))

        await self._db.write(job)

    def _committed(self, room: LiveRoom, gone: set[str]) -> None:
        if any(stored.event_id in gone for stored in room.timeline):
            room.timeline = deque(stored for stored in room.timeline if stored.event_id not in gone)
        for listener in self.purged:
            listener(room.room_id)

    async def _work(self, task: BackgroundTask, report: Report) -> Mapping[str, Any]:
        params = task.params
        removed = await self.purge(
            task.resource_id,
            before=params["before"],
            before_ms=params["before_ms"],
            local_too=bool(params["local_too"]),
        )
        return {"deleted_events": removed}
