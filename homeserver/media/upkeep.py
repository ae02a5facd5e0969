"""What happens to files after they came: operators' quarantine and deletion, age, and files that nobody knows of.

The row goes first, in a transaction, then the bytes; what a crash leaves between the two is found by `remove_orphans`.
Rows E06 and E08 of the known attacks: `MediaAccess` alone serves, and it serves nothing that is in quarantine, nor does
an upload of the same content come out of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from homeserver.clock import Clock
from homeserver.media.file_store import FileStore
from homeserver.protocol.errors import MatrixError
from homeserver.storage.database import Database, Transaction
from homeserver.storage.media import Media, MediaStore
from homeserver.storage.media_upkeep import MediaUpkeepStore, MediaUsage, OrderBy, UsageOrder
from homeserver.storage.url_previews import UrlPreviewStore
from homeserver.users.passwords import RunInThread

_log = logging.getLogger("homeserver.media")
ROUND_SECONDS: Final = 3600.0
ACCESS_GRAIN_MS: Final = 3600 * 1000
"""How exactly the time of the last access is known: one write an hour for a file, however often it is read."""
ORPHAN_AGE_MS: Final = 24 * 3600 * 1000
DAY_MS: Final = 24 * 3600 * 1000
PREVIEW_SHOWN_MS: Final = 2 * DAY_MS
"""How long the picture of a preview that has expired is still served: clients show what they once got."""
_ACCESSED_MAX: Final = 10_000
_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Retention:
    """Days after which a file that nobody asked for is removed; 0: never."""

    local_days: int = 0
    remote_days: int = 0


class MediaUpkeep:
    """Operators' and time's work on files."""

    def __init__(
        self,
        db: Database,
        store: MediaStore,
        files: FileStore,
        clock: Clock,
        run_in_thread: RunInThread,
        server_name: str,
        retention: Retention,
    ) -> None:
        self._db = db
        self._media = store
        self._store = MediaUpkeepStore(db)
        self._previews = UrlPreviewStore(db)
        self._files = files
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._server_name = server_name
        self._retention = retention
        self._accessed: dict[tuple[str, str], int] = {}
        self._task: asyncio.Task[None] | None = None
        self._orphans_ms = clock.now_ms()

    def touched(self, media: Media) -> None:
        """Somebody reads it."""
        now_ms = self._clock.now_ms()
        if now_ms - (media.last_access_ms or 0) >= ACCESS_GRAIN_MS and len(self._accessed) < _ACCESSED_MAX:
            self._accessed.setdefault((media.server_name, media.media_id), now_ms)

    async def find(self, server_name: str, media_id: str) -> Media | None:
        """What is known of one, in quarantine or not."""
        return await self._media.find_media(server_name, media_id)

    async def list_of_user(
        self,
        user_id: str,
        *,
        order_by: OrderBy = "created_ts",
        descending: bool = True,
        start: int = 0,
        limit: int = 100,
    ) -> tuple[list[Media], int]:
        """One page of the files that a user uploaded, and the number of all of them."""
        return await self._store.list_of_user(user_id, order_by, descending, start, limit)

    async def list_usage(
        self,
        *,
        from_ms: int = 0,
        until_ms: int = 2**53,
        order_by: UsageOrder = "media_length",
        descending: bool = True,
        start: int = 0,
        limit: int = 100,
    ) -> tuple[list[MediaUsage], int]:
        """One page of the users with what they uploaded in a time, and the number of all of them."""
        return await self._store.list_usage(from_ms, until_ms, order_by, descending, start, limit)

    async def quarantine(self, server_name: str, media_id: str, by: str) -> int:
        """Serve a file, and all with the same content, to nobody from now on; how many that were. `by`: user id of the
        operator. Raises NotFound. Protected files stay."""
        media = await self._media.get_media(server_name, media_id)
        return await self._db.write(lambda txn: self._store.quarantine_content(txn, media, by))

    async def quarantine_of_user(self, user_id: str, by: str) -> int:
        """The same for all that a user uploaded."""
        return await self._db.write(lambda txn: self._store.quarantine_of_user(txn, user_id, by))

    async def release(self, server_name: str, media_id: str) -> int:
        """End the quarantine of a file and of all with the same content; how many that were. Raises NotFound."""
        media = await self._media.get_media(server_name, media_id)
        return await self._db.write(lambda txn: self._store.release_content(txn, media))

    async def protect(self, media_id: str, is_protected: bool = True) -> bool:
        """Keep a file of this server out of later quarantines and retention, or no more; False: there is none."""
        return await self._db.write(
            lambda txn: self._store.set_protected(txn, self._server_name, media_id, is_protected)
        )

    async def remove(self, server_name: str, media_id: str) -> bool:
        """Delete one with its thumbnails; False: there is no such file."""
        media = await self._media.find_media(server_name, media_id)
        if media is None:
            return False
        await self._remove([media])
        return True

    async def remove_of_user(
        self,
        user_id: str,
        *,
        order_by: OrderBy = "created_ts",
        descending: bool = True,
        start: int = 0,
        limit: int = 100,
    ) -> list[str]:
        """Delete one page of `list_of_user`; their ids."""
        found, _ = await self.list_of_user(user_id, order_by=order_by, descending=descending, start=start, limit=limit)
        await self._remove(found)
        return [media.media_id for media in found]

    async def purge_before(self, before_ms: int, *, larger_than: int = 0, keep_avatars: bool = True) -> list[str]:
        """Delete files of this server that nobody uploaded or asked for since, and that have more bytes; their ids.
        What is protected or in quarantine stays."""
        kept = await self._store.list_local_avatars(self._server_name) if keep_avatars else set()
        return await self._purge(True, before_ms, larger_than, kept)

    async def purge_remote(self, before_ms: int) -> int:
        """Forget files of other servers that nobody asked for since; how many. They are fetched again when needed."""
        return len(await self._purge(False, before_ms, 0, set()))

    async def _purge(self, is_local: bool, before_ms: int, larger_than: int, kept: set[str]) -> list[str]:
        await self.write_accesses()
        removed: list[str] = []
        after = ""
        while True:
            found = await self._store.list_unused(self._server_name, is_local, before_ms, larger_than, after, _BATCH)
            if not found:
                return removed
            going = [media for media in found if media.media_id not in kept]
            await self._remove(going)
            removed += [media.media_id for media in going]
            after = found[-1].media_id

    async def _remove(self, going: Sequence[Media]) -> None:
        async def write(txn: Transaction) -> list[str]:
            return [key for media in going for key in await self._store.remove(txn, media)]

        keys = await self._db.write(write) if going else []
        await self._remove_files(keys)

    async def _remove_files(self, keys: Sequence[str]) -> None:
        def remove() -> None:
            for key in keys:
                self._files.remove(key)

        await self._run_in_thread(remove)

    async def write_accesses(self) -> None:
        """Write down who was asked for since the last time."""
        if self._accessed:
            accessed, self._accessed = self._accessed, {}
            await self._db.write(lambda txn: self._store.set_accessed(txn, accessed))

    async def remove_orphans(self) -> int:
        """Remove files that no row knows, a day after they came; how many."""
        before = (self._clock.now_ms() - ORPHAN_AGE_MS) / 1000
        old = await self._run_in_thread(lambda: list(self._files.list_old(before)))
        orphans = await self._store.list_unknown(old)
        await self._remove_files(orphans)
        return len(orphans)

    async def do_round(self) -> None:
        """What time takes: once an hour."""
        now_ms = self._clock.now_ms()
        await self.write_accesses()
        await self._db.write(lambda txn: self._store.remove_expired(txn, now_ms))
        await self._remove_previews(now_ms - PREVIEW_SHOWN_MS)
        if self._retention.local_days:
            await self.purge_before(now_ms - self._retention.local_days * DAY_MS)
        if self._retention.remote_days:
            await self.purge_remote(now_ms - self._retention.remote_days * DAY_MS)
        if now_ms - self._orphans_ms >= DAY_MS:
            self._orphans_ms = now_ms
            await self.remove_orphans()

    async def _remove_previews(self, before_ms: int) -> None:
        await self._db.write(lambda txn: self._previews.remove_expired(txn, before_ms))
        for media_id in await self._previews.list_pictures_without_page(self._server_name, before_ms, _ACCESSED_MAX):
            await self.remove(self._server_name, media_id)

    def start(self) -> None:
        """Begin the rounds."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        with contextlib.suppress(MatrixError):
            await self.write_accesses()

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(ROUND_SECONDS)
            try:
                await self.do_round()
            except (MatrixError, OSError) as error:
                _log.warning("Files could not be looked after: %s", error)
