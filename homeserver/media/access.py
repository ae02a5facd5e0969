"""The one place that decides whether somebody may read a file: every download and every thumbnail asks here.

Rows E03 and E06 of the known attacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from homeserver.clock import Clock
from homeserver.media.addresses import check_address
from homeserver.protocol.errors import NotFound, NotYetUploaded
from homeserver.storage.media import Media, MediaStore

if TYPE_CHECKING:
    from homeserver.media.remote_files import RemoteFiles

_LOOK_AGAIN_SECONDS: Final = 2.0
"""Another process may have taken the upload; so a waiting request looks for itself now and then."""


class MediaAccess:
    """Finds media for whoever may read it."""

    def __init__(self, store: MediaStore, clock: Clock, server_name: str) -> None:
        """`remote` and `on_read` are set by whoever builds them, which need this first."""
        self.remote: RemoteFiles | None = None
        self.on_read: Callable[[Media], None] = lambda media: None
        self._store = store
        self._clock = clock
        self._server_name = server_name
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    async def get_readable(self, user_id: str, server_name: str, media_id: str, timeout_ms: int) -> Media:
        """Media with its file, for a user; waits up to `timeout_ms` for one that is promised.

        Raises NotFound (unknown, expired, quarantined) and NotYetUploaded; for one of another server also
        RemoteTooLarge and LimitExceeded.
        """
        check_address(server_name, media_id)
        if server_name == self._server_name:
            media = await self._wait_for(server_name, media_id, timeout_ms)
        elif self.remote is not None:
            media = await self.remote.get(user_id, server_name, media_id, timeout_ms)
        else:
            raise NotFound("There is no such media.")
        if media.is_quarantined:
            raise NotFound("There is no such media.")
        self.on_read(media)
        return media

    async def _wait_for(self, server_name: str, media_id: str, timeout_ms: int) -> Media:
        deadline = self._clock.monotonic() + timeout_ms / 1000
        while True:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting = self._waiting.setdefault(media_id, set())
            waiting.add(woken)
            try:
                media = await self._store.get_media(server_name, media_id)
                if media.file_key is not None:
                    return media
                if media.expires_ms is not None and media.expires_ms <= self._clock.now_ms():
                    raise NotFound("There is no such media: it was never uploaded.")
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    raise NotYetUploaded("This media has not been uploaded yet.")
                await self._wait(woken, min(left, _LOOK_AGAIN_SECONDS))
            finally:
                waiting.discard(woken)
                if not waiting and self._waiting.get(media_id) is waiting:
                    del self._waiting[media_id]

    def uploaded(self, media_id: str) -> None:
        """Wake those who wait for it."""
        for woken in self._waiting.get(media_id, ()):
            if not woken.done():
                woken.set_result(None)

    async def _wait(self, woken: asyncio.Future[None], seconds: float) -> None:
        timer = self._clock.call_later(seconds, lambda: None if woken.done() else woken.set_result(None))
        try:
            await woken
        finally:
            timer.cancel()
