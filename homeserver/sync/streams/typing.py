"""Who types in joined rooms, as m.typing events."""

from __future__ import annotations

from homeserver.rooms.typing import Typing
from homeserver.sync.request import SyncRun


class TypingSection:
    """`ephemeral` of joined rooms: m.typing."""

    def __init__(self, typing: Typing) -> None:
        self._typing = typing

    async def add_to(self, run: SyncRun) -> None:
        event_filter = run.request.filter.room.ephemeral
        place = 0 if run.since is None else run.since.typing
        if (self._typing.serial == 0 and place == 0) or not event_filter.matches("m.typing"):
            return
        if self._typing.is_of_earlier_run(place):
            rooms = set(run.joined)
        else:
            rooms = {*self._typing.changed_among(run.joined, place), *run.newly_joined}
        for room_id in rooms:
            if not event_filter.allows_room(room_id):
                continue
            new = room_id in run.newly_joined
            who = [user_id for user_id in self._typing.who(room_id) if user_id not in run.ignored]
            if who or not new:
                section = run.joined_section(room_id).setdefault("ephemeral", {"events": []})
                section["events"].append({"type": "m.typing", "content": {"user_ids": who}})
