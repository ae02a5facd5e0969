"""Files of other servers: fetched when somebody asks, kept as a cache (`MediaUpkeep.purge_remote`).

Row E03 of the known attacks: only who has a token makes this server fetch, few files at a time, none larger than an
upload may be, and each user so many bytes in the long run.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from homeserver.clock import Clock
from homeserver.media.remote import RemoteMedia
from homeserver.media.uploads import Upload, Uploads
from homeserver.protocol.errors import CannotOverwriteMedia, LimitExceeded
from homeserver.storage.media import Media, MediaStore

_USERS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class RemoteLimits:
    """`file_bytes` of one file; `burst_bytes` of one user at once and `bytes_per_second` in the long run."""

    file_bytes: int = 50 * 1024 * 1024
    concurrent: int = 6
    burst_bytes: int = 500 * 1024 * 1024
    bytes_per_second: int = 87 * 1024


class RemoteFiles:
    """Finds or fetches them. What is fetched for one is not fetched again for another who asks meanwhile."""

    def __init__(
        self, store: MediaStore, uploads: Uploads, remote: RemoteMedia, clock: Clock, limits: RemoteLimits
    ) -> None:
        self.remote = remote
        self._store = store
        self._uploads = uploads
        self._clock = clock
        self._limits = limits
        self._places = asyncio.Semaphore(limits.concurrent)
        self._running: dict[tuple[str, str], asyncio.Task[Media]] = {}
        self._paid_until: OrderedDict[str, float] = OrderedDict()

    async def get(self, user_id: str, server_name: str, media_id: str, timeout_ms: int) -> Media:
        """One with its file, also in quarantine. Raises NotFound, NotYetUploaded, RemoteTooLarge, LimitExceeded."""
        known = await self._store.find_media(server_name, media_id)
        if known is not None:
            return known
        key = (server_name, media_id)
        task = self._running.get(key)
        if task is None:
            self._check_budget(user_id)
            task = asyncio.ensure_future(self._fetch(user_id, server_name, media_id, timeout_ms))
            self._running[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    def _done(self, key: tuple[str, str], task: asyncio.Task[Media]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone, and then nobody looks at it

    async def close(self) -> None:
        """End what is being fetched."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _fetch(self, user_id: str, server_name: str, media_id: str, timeout_ms: int) -> Media:
        media = Media(server_name, media_id, "", self._clock.now_ms())
        async with self._places:
            with tempfile.TemporaryFile() as file:
                found = await self.remote.download_media(
                    server_name, media_id, file, max_bytes=self._limits.file_bytes, timeout_ms=timeout_ms
                )
                size = file.seek(0, 2)
                file.seek(0)
                self._pay(user_id, size)
                try:
                    return await self._uploads.add_fetched(
                        media, Upload(file, size, found.content_type, found.file_name)
                    )
                except CannotOverwriteMedia:  # another process fetched it meanwhile
                    return await self._store.get_media(server_name, media_id)

    def _check_budget(self, user_id: str) -> None:
        ahead = self._paid_until.get(user_id, 0.0) - self._clock.monotonic()
        wait = ahead - self._limits.burst_bytes / self._limits.bytes_per_second
        if wait > 0:
            raise LimitExceeded(
                "You asked for too many files of other servers; please wait.", retry_after_ms=int(wait * 1000) + 1
            )

    def _pay(self, user_id: str, size: int) -> None:
        now = self._clock.monotonic()
        until = max(self._paid_until.get(user_id, now), now) + size / self._limits.bytes_per_second
        self._paid_until[user_id] = until
        self._paid_until.move_to_end(user_id)
        while len(self._paid_until) > _USERS_MAX:
            self._paid_until.popitem(last=False)
