"""Sticky events of joined rooms that are not in the timeline (MSC4354)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from homeserver.rooms.client_events import EventSerializer
from homeserver.rooms.sticky_events import StickyEvents
from homeserver.sync.request import SyncRun


class _Named(msgspec.Struct):
    event_id: str = ""


_decode_name = msgspec.json.Decoder(_Named).decode


class StickyEventSection:
    """`rooms.join.*.msc4354_sticky`. Stands behind the joined rooms, whose timelines it does not repeat."""

    def __init__(self, sticky: StickyEvents, serializer: EventSerializer) -> None:
        self._sticky = sticky
        self._serializer = serializer

    async def add_to(self, run: SyncRun) -> None:
        for room_id in await self._sticky.list_rooms(run.after if not run.newly_joined else 0):
            if room_id not in run.joined:
                continue
            after = 0 if room_id in run.newly_joined else run.after
            held = await self._sticky.list_events(room_id, after, run.now.position)
            if not held:
                continue
            shown = event_ids(run.rooms.get("join", {}).get(room_id, {}).get("timeline", {}).get("events", ()))
            events: list[Any] = [
                self._serializer.serialize(stored, run.reader, with_room_id=False)
                for stored in held
                if stored.event_id not in shown and stored.event.sender not in run.ignored
            ]
            if events:
                run.joined_section(room_id)["msc4354_sticky"] = {"events": events}


def event_ids(timeline: Iterable[Any]) -> set[str]:
    """The ids of events as a timeline of an answer has them: JSON, or what is left after `event_fields`."""
    return {
        _decode_name(bytes(one)).event_id if isinstance(one, msgspec.Raw) else str(one.get("event_id", ""))
        for one in timeline
    }
