"""Account data, global and of rooms; tags and push rules among it."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.stream import Change, Stream
from homeserver.sync.request import SyncRun
from homeserver.users.account_data import AccountDataService


class AccountDataSection:
    """`account_data`, and `account_data` of joined rooms."""

    def __init__(self, account_data: AccountDataService, stream: Stream) -> None:
        self._account_data = account_data
        self._stream = stream

    async def add_to(self, run: SyncRun) -> None:
        changed = run.is_initial or self._stream.changed_since(Change.ACCOUNT_DATA, run.user_id, run.after)
        if not changed and not run.newly_joined:
            return
        # A room that was just joined shows its account data whole, however old it is.
        after = 0 if run.newly_joined else run.after
        room_filter = run.request.filter.room.account_data
        for change in await self._account_data.list_changes(run.user_id, after, run.now.position):
            entry: dict[str, Any] = {"type": change.type, "content": msgspec.Raw(change.content.encode())}
            is_new = run.is_initial or change.position > run.after
            if not change.room_id:
                if is_new and run.request.filter.account_data.matches(change.type):
                    run.response.setdefault("account_data", {"events": []})["events"].append(entry)
            elif (
                (is_new or change.room_id in run.newly_joined)
                and change.room_id in run.joined
                and room_filter.allows_room(change.room_id)
                and room_filter.matches(change.type)
            ):
                section = run.joined_section(change.room_id)
                section.setdefault("account_data", {"events": []})["events"].append(entry)
