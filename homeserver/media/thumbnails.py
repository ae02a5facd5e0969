"""Smaller pictures of pictures: made once, in a process of their own, and kept.

Spec: Client-Server API, "Thumbnails".
"""

from __future__ import annotations

import hashlib
import tempfile
from typing import BinaryIO, Final

from homeserver.media.file_store import FileStore, file_errors
from homeserver.media.thumbnail_maker import ThumbnailMaker, Wanted
from homeserver.protocol.errors import NotFound
from homeserver.storage.database import Database, Transaction
from homeserver.storage.media import Media, MediaStore, StoredThumbnail
from homeserver.users.passwords import RunInThread

KEPT_MAX: Final = 24
"""Thumbnails of one file that are kept: sizes are the client's to choose, and the disk is ours."""


class Thumbnails:
    """Finds or makes thumbnails."""

    def __init__(
        self, db: Database, store: MediaStore, files: FileStore, maker: ThumbnailMaker, run_in_thread: RunInThread
    ) -> None:
        self._db = db
        self._store = store
        self._files = files
        self._maker = maker
        self._run_in_thread = run_in_thread

    async def open(self, media: Media, wanted: Wanted) -> tuple[BinaryIO, int, str]:
        """(the open file, its size in bytes, its content type); `media` must have come from `MediaAccess`.

        Raises TooLarge, Unknown (no thumbnail can be made of it), LimitExceeded, NotFound.
        """
        file_key = media.file_key
        assert file_key is not None
        known = await self._store.find_thumbnail(file_key, wanted.variant)
        if known is not None:
            try:
                return await self._open(known.thumbnail_key), known.size, known.content_type
            except NotFound:
                known = None  # the cache was emptied: make it again
        output: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - it is the answer's, which closes it
        try:
            source = await self._open(file_key)
            try:
                content_type = (await self._maker.make(source, output, wanted)).content_type
            finally:
                source.close()
            size = output.seek(0, 2)
            await self._keep(file_key, wanted.variant, output, size, content_type)
            output.seek(0)
        except BaseException:
            output.close()
            raise
        return output, size, content_type

    async def _keep(self, file_key: str, variant: str, output: BinaryIO, size: int, content_type: str) -> None:
        if await self._store.count_thumbnails(file_key) >= KEPT_MAX:
            return
        key = hashlib.sha256(f"{file_key}/{variant}".encode()).hexdigest()
        output.seek(0)
        with file_errors():
            await self._run_in_thread(lambda: self._files.add(key, output))

        async def write(txn: Transaction) -> None:
            await self._store.add_thumbnail(txn, file_key, variant, StoredThumbnail(key, size, content_type))

        await self._db.write(write)

    async def _open(self, key: str) -> BinaryIO:
        with file_errors():
            return await self._run_in_thread(lambda: self._files.open(key))
