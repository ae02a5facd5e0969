"""The presence of those whom the user shares a room with (G06)."""

from __future__ import annotations

from homeserver.rooms.live_room import LiveRooms
from homeserver.storage.rooms import RoomStore
from homeserver.stream import Change, Stream
from homeserver.sync.request import SyncRun
from homeserver.users.presence import Presence


class PresenceSection:
    """`presence`. Spec: Client-Server API, "Presence"."""

    def __init__(self, presence: Presence, rooms: LiveRooms, store: RoomStore, stream: Stream) -> None:
        self._presence = presence
        self._rooms = rooms
        self._store = store
        self._stream = stream

    async def add_to(self, run: SyncRun) -> None:
        event_filter = run.request.filter.presence
        if not event_filter.passes_all and not event_filter.matches("m.presence", run.user_id):
            return
        newcomers: set[str] = set()
        for room_id in run.newly_joined:
            newcomers.update((await self._rooms.get(room_id)).joined_members())
        changed = run.is_initial or self._stream.any_since(Change.PRESENCE, run.after)
        if not changed and not newcomers:
            return
        users = await self._presence.list_changed_users(0 if newcomers else run.after, run.now.position)
        known = await self._store.list_sharing(run.user_id, users) | {run.user_id}
        events = [
            {"type": "m.presence", "sender": user_id, "content": await self._presence.content_of(user_id)}
            for user_id in users
            if user_id in known and event_filter.matches("m.presence", user_id) and user_id not in run.ignored
        ]
        if events:
            run.response["presence"] = {"events": events}
