"""Receipts of joined rooms, as m.receipt events."""

from __future__ import annotations

from homeserver.rooms.receipts import Receipts, receipts_contents
from homeserver.stream import Change, Stream
from homeserver.sync.request import SyncRun


class ReceiptSection:
    """`ephemeral` of joined rooms: m.receipt."""

    def __init__(self, receipts: Receipts, stream: Stream) -> None:
        self._receipts = receipts
        self._stream = stream

    async def add_to(self, run: SyncRun) -> None:
        event_filter = run.request.filter.room.ephemeral
        any_changed = self._stream.any_since(Change.RECEIPTS, run.after)
        any_changed = any_changed or self._stream.any_since(Change.PRIVATE_RECEIPTS, run.after)
        if not (any_changed or run.newly_joined) or not event_filter.matches("m.receipt"):
            return
        own_changed = self._stream.changed_since(Change.PRIVATE_RECEIPTS, run.user_id, run.after)
        whole = [room_id for room_id in run.newly_joined if event_filter.allows_room(room_id)]
        changed = [
            room_id
            for room_id in (
                run.joined if own_changed else self._stream.changed_among(Change.RECEIPTS, run.joined, run.after)
            )
            if room_id not in run.newly_joined and event_filter.allows_room(room_id)
        ]
        for room_ids, after in ((whole, 0), (changed, run.after)):
            if not room_ids:
                continue
            for room_id, receipts in (await self._receipts.list_changed(room_ids, after)).items():
                shown = [one for one in receipts if one.user_id not in run.ignored]
                for content in receipts_contents(shown, run.user_id):
                    section = run.joined_section(room_id).setdefault("ephemeral", {"events": []})
                    section["events"].append({"type": "m.receipt", "content": content})
