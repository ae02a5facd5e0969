"""Files come in, at once or to an address that was made for them before.

An address gets its file once (row E08 of the known attacks). Spec: Client-Server API, "Content repository".
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from homeserver.clock import Clock
from homeserver.media.access import MediaAccess
from homeserver.media.addresses import check_address, new_media_id
from homeserver.media.file_names import clean_content_type, clean_file_name
from homeserver.media.file_store import FileStore, file_errors
from homeserver.protocol.errors import (
    CannotOverwriteMedia,
    Forbidden,
    LimitExceeded,
    MatrixError,
    NotFound,
    TooLarge,
    Unavailable,
)
from homeserver.storage.database import Database, Reader, Transaction
from homeserver.storage.media import Media, MediaStore
from homeserver.users.passwords import RunInThread
from homeserver.users.requester import Requester

_Write = Callable[[Transaction, Media], Awaitable[None]]
_RETRY_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Sizes in bytes; `quota_bytes` of one user, 0 for none; `pending` addresses of one user without a file."""

    upload_bytes: int = 50 * 1024 * 1024
    quota_bytes: int = 0
    pending: int = 50
    pending_lifetime_ms: int = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of `size` bytes, and what its sender says of it."""

    file: BinaryIO
    size: int
    content_type: str | None
    file_name: str | None


class Uploads:
    """Takes files."""

    def __init__(
        self,
        db: Database,
        store: MediaStore,
        files: FileStore,
        access: MediaAccess,
        clock: Clock,
        run_in_thread: RunInThread,
        server_name: str,
        limits: UploadLimits,
    ) -> None:
        self._db = db
        self._store = store
        self._files = files
        self._access = access
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._server_name = server_name
        self.limits = limits

    async def create(self, requester: Requester) -> Media:
        """An address without a file, for a while. Raises LimitExceeded when the user has too many of them."""
        now_ms = self._clock.now_ms()
        expires_ms = now_ms + self.limits.pending_lifetime_ms
        media = Media(self._server_name, new_media_id(), requester.user_id, now_ms, expires_ms)

        async def write(txn: Transaction) -> None:
            await self._store.remove_expired(txn, requester.user_id, now_ms)
            if await self._store.count_pending(requester.user_id, now_ms, txn) >= self.limits.pending:
                raise LimitExceeded(
                    f"You have {self.limits.pending} media that were not uploaded yet; upload those first.",
                    retry_after_ms=_RETRY_MS,
                )
            await self._store.add_media(txn, media)

        await self._db.write(write)
        return media

    async def add(self, requester: Requester, upload: Upload) -> Media:
        """A file and its new address. Raises TooLarge, Forbidden (quota)."""
        media = Media(self._server_name, new_media_id(), requester.user_id, self._clock.now_ms())
        await self._check_room(requester, upload, self._db)

        async def write(txn: Transaction, stored: Media) -> None:
            await self._check_room(requester, upload, txn)
            await self._store.add_media(txn, stored)

        return await self._keep(media, upload, write)

    async def add_own(self, upload: Upload) -> Media:
        """A file of the server itself, which counts for nobody."""
        media = Media(self._server_name, new_media_id(), "", self._clock.now_ms())
        return await self._keep(media, upload, self._store.add_media)

    async def add_fetched(self, media: Media, upload: Upload) -> Media:
        """A file of another server. Raises CannotOverwriteMedia when it came meanwhile."""

        async def write(txn: Transaction, stored: Media) -> None:
            if await self._store.find_media(media.server_name, media.media_id, txn) is not None:
                raise CannotOverwriteMedia("This media was fetched already.")
            await self._store.add_media(txn, stored)

        return await self._keep(media, upload, write)

    async def add_to(self, requester: Requester, server_name: str, media_id: str, upload: Upload) -> Media:
        """A file for an address that `create` made. Raises NotFound, Forbidden, CannotOverwriteMedia, TooLarge."""
        check_address(server_name, media_id)
        media = await self._check_pending(requester, server_name, media_id, self._db)
        await self._check_room(requester, upload, self._db)

        async def write(txn: Transaction, stored: Media) -> None:
            await self._check_pending(requester, server_name, media_id, txn)
            await self._check_room(requester, upload, txn)
            if not await self._store.set_file(txn, stored):
                raise CannotOverwriteMedia("This media was uploaded already.")
            txn.on_commit(lambda: self._access.uploaded(media_id))

        return await self._keep(media, upload, write)

    async def _keep(self, media: Media, upload: Upload, write: _Write) -> Media:
        """The file first, then the row that makes it known; a file that no row came to is removed."""
        key = new_file_key(media)
        with file_errors():
            digest = await self._run_in_thread(lambda: self._files.add(key, upload.file))
        quarantined_by = await self._store.find_quarantine(digest)
        stored = replace(
            media,
            is_quarantined=quarantined_by is not None,
            quarantined_by=quarantined_by,
            file_key=key,
            sha256=digest,
            size=upload.size,
            content_type=clean_content_type(upload.content_type),
            file_name=clean_file_name(upload.file_name),
            expires_ms=None,
        )
        try:
            await self._db.write(lambda txn: write(txn, stored))
        except Unavailable:
            raise  # whether it was committed may be unknown: a file too many is better than a row without its file
        except MatrixError:
            await self._run_in_thread(lambda: self._files.remove(key))
            raise
        return stored

    async def _check_pending(self, requester: Requester, server_name: str, media_id: str, reader: Reader) -> Media:
        media = await self._store.find_media(server_name, media_id, reader)
        if media is None:
            raise NotFound("No such address was made.")
        if media.user_id != requester.user_id:
            raise Forbidden("Somebody else made this address.")
        if media.file_key is not None:
            raise CannotOverwriteMedia("This media was uploaded already.")
        if media.expires_ms is None or media.expires_ms <= self._clock.now_ms():
            raise NotFound("This address has expired; make a new one.")
        return media

    async def _check_room(self, requester: Requester, upload: Upload, reader: Reader) -> None:
        if upload.size > self.limits.upload_bytes:
            raise TooLarge(f"A file may have at most {self.limits.upload_bytes} bytes.")
        quota = self.limits.quota_bytes
        if not quota or requester.appservice_id is not None:
            return
        if await self._store.used_bytes(requester.user_id, reader) + upload.size > quota:
            raise Forbidden(f"Your files may have {quota} bytes together, and this one would be more.")


def new_file_key(media: Media) -> str:
    """A hash, so that nothing of a path comes from outside, and new for each upload, so that none meets another."""
    return hashlib.sha256(f"{media.server_name}/{media.media_id}/{secrets.token_hex(16)}".encode()).hexdigest()
