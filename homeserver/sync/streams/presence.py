"""The presence of those whom the user shares a room with (G06)."""

from __future__ import annotations

from homeserver.stream import Change, Stream
from homeserver.sync.request import SyncRun
from homeserver.users.presence import Presence


class PresenceSection:
    """`presence`. Spec: Client-Server API, "Presence"."""

    def __init__(self, presence: Presence, stream: Stream) -> None:
        self._presence = presence
        self._stream = stream

    async def add_to(self, run: SyncRun) -> None:
        event_filter = run.request.filter.presence
        if not event_filter.passes_all and not event_filter.matches("m.presence", run.user_id):
            return
        newcomers: set[str] = set()
        for room_id in run.newly_joined:
            newcomers.update(run.joined[room_id].joined_members())
        changed = run.is_initial or self._stream.any_since(Change.PRESENCE, run.after)
        if not changed and not newcomers:
            return
        known = {run.user_id}
        for room in run.joined.values():
            known.update(room.joined_members())
        after = 0 if newcomers else run.after
        events = [
            {"type": "m.presence", "sender": user_id, "content": content}
            for user_id, content in await self._presence.list_changes(known, after, run.now.position)
            if event_filter.matches("m.presence", user_id) and user_id not in run.ignored
        ]
        if events:
            run.response["presence"] = {"events": events}
