"""Rooms that an operator deleted: whoever was in them is told once that they are left, without a word more."""

from __future__ import annotations

from homeserver.rooms.tokens import place_after
from homeserver.storage.purges import PurgeStore
from homeserver.stream import Change, Stream
from homeserver.sync.request import SyncRun


class DeletedRoomSection:
    """`rooms.leave` of what is not there any more."""

    def __init__(self, *, store: PurgeStore, stream: Stream) -> None:
        self._store = store
        self._stream = stream

    async def add_to(self, run: SyncRun) -> None:
        if run.is_initial or not self._stream.changed_since(Change.MEMBERSHIP, run.user_id, run.after):
            return
        for room_id in await self._store.list_deleted(run.user_id, run.after, run.now.position):
            if run.request.filter.room.allows_room(room_id):
                state = run.request.state_after_name if run.request.use_state_after else "state"
                run.rooms.setdefault("leave", {}).setdefault(
                    room_id,
                    {
                        "timeline": {"events": [], "limited": False, "prev_batch": place_after(run.now.position)},
                        state: {"events": []},
                    },
                )
