"""How many one-time keys this device has left. Spec: Client-Server API, "Extensions to /sync" for encryption."""

from __future__ import annotations

from homeserver.encryption.key_counts import KeyCounts
from homeserver.sync.request import SyncRun


class KeyCountSection:
    """`device_one_time_keys_count` and `device_unused_fallback_key_types`: in every answer, and no news
    by themselves: they are added when it is clear that there will be an answer."""

    def __init__(self, counts: KeyCounts) -> None:
        self._counts = counts

    async def add_to(self, run: SyncRun) -> None:
        if run.reader.device_id is not None:
            run.response.update(await self._counts.of_device(run.user_id, run.reader.device_id))
