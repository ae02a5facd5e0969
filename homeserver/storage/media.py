"""What is known of uploaded files; the bytes are elsewhere. Spec: Client-Server API, "Content repository"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from homeserver.protocol.errors import NotFound
from homeserver.storage.database import Database, Reader, Row, Transaction

COLUMNS = (
    "server_name, media_id, user_id, created_ms, expires_ms, file_key, sha256, size, content_type, file_name, "
    "is_quarantined, last_access_ms, quarantined_by, is_protected"
)
_ONE = "WHERE server_name = ? AND media_id = ?"


@dataclass(frozen=True, slots=True)
class Media:
    """One mxc:// address. `file_key` is None until its file is uploaded, which may happen before `expires_ms`.
    `user_id` is empty for what the server fetched: files of other servers, and pictures of previews."""

    server_name: str
    media_id: str
    user_id: str
    created_ms: int
    expires_ms: int | None = None
    file_key: str | None = None
    sha256: str | None = None
    size: int = 0
    content_type: str = "application/octet-stream"
    file_name: str | None = None
    is_quarantined: bool = False
    last_access_ms: int | None = None
    quarantined_by: str | None = None
    is_protected: bool = False

    @property
    def seen_ms(self) -> int:
        """When it was last of use to anybody, in milliseconds since 1970."""
        return max(self.created_ms, self.last_access_ms or 0)


def to_media(row: Row) -> Media:
    """A row of COLUMNS."""
    return Media(*(*row[:10], bool(row[10]), row[11], row[12], bool(row[13])))


class StoredThumbnail(NamedTuple):
    """`size` in bytes."""

    thumbnail_key: str
    size: int
    content_type: str


class MediaStore:
    """The tables `media` and `media_thumbnails`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_media(self, server_name: str, media_id: str, reader: Reader | None = None) -> Media | None:
        row = await (reader or self._db).fetch_one(f"SELECT {COLUMNS} FROM media {_ONE}", (server_name, media_id))
        return None if row is None else to_media(row)

    async def get_media(self, server_name: str, media_id: str, reader: Reader | None = None) -> Media:
        """Raises NotFound."""
        media = await self.find_media(server_name, media_id, reader)
        if media is None:
            raise NotFound("There is no such media.")
        return media

    async def add_media(self, txn: Transaction, media: Media) -> None:
        """The address must be new."""
        await txn.execute(
            f"INSERT INTO media ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                media.server_name,
                media.media_id,
                media.user_id,
                media.created_ms,
                media.expires_ms,
                media.file_key,
                media.sha256,
                media.size,
                media.content_type,
                media.file_name,
                int(media.is_quarantined),
                media.last_access_ms,
                media.quarantined_by,
                int(media.is_protected),
            ),
        )

    async def set_file(self, txn: Transaction, media: Media) -> bool:
        """Give an address its file, once; False when it has one already or does not exist."""
        changed = await txn.execute(
            "UPDATE media SET file_key = ?, sha256 = ?, size = ?, content_type = ?, file_name = ?, expires_ms = NULL, "
            "is_quarantined = ?, quarantined_by = ? "
            f"{_ONE} AND file_key IS NULL",
            (
                media.file_key,
                media.sha256,
                media.size,
                media.content_type,
                media.file_name,
                int(media.is_quarantined),
                media.quarantined_by,
                media.server_name,
                media.media_id,
            ),
        )
        return changed == 1

    async def set_quarantined(
        self, txn: Transaction, server_name: str, media_id: str, is_quarantined: bool, by: str | None = None
    ) -> bool:
        """False when there is no such media. `by` is the user id of the operator."""
        changed = await txn.execute(
            f"UPDATE media SET is_quarantined = ?, quarantined_by = ? {_ONE}",
            (int(is_quarantined), by, server_name, media_id),
        )
        return changed == 1

    async def find_quarantine(self, sha256: str, reader: Reader | None = None) -> str | None:
        """Who put the same content in quarantine ("" when that is not known); None when nobody did."""
        row = await (reader or self._db).fetch_one(
            "SELECT quarantined_by FROM media WHERE sha256 = ? AND is_quarantined = 1 LIMIT 1", (sha256,)
        )
        return None if row is None else row[0] or ""

    async def used_bytes(self, user_id: str, reader: Reader | None = None) -> int:
        """The size of all files of a user."""
        used = await (reader or self._db).fetch_value("SELECT SUM(size) FROM media WHERE user_id = ?", (user_id,))
        return int(used or 0)

    async def count_pending(self, user_id: str, now_ms: int, reader: Reader | None = None) -> int:
        """Addresses without a file that may still get one."""
        count = await (reader or self._db).fetch_value(
            "SELECT COUNT(*) FROM media WHERE user_id = ? AND file_key IS NULL AND expires_ms > ?", (user_id, now_ms)
        )
        return int(count)

    async def remove_expired(self, txn: Transaction, user_id: str, now_ms: int) -> int:
        """Addresses of a user that never got a file; how many went."""
        return await txn.execute(
            "DELETE FROM media WHERE user_id = ? AND file_key IS NULL AND expires_ms <= ?", (user_id, now_ms)
        )

    async def find_thumbnail(self, file_key: str, variant: str) -> StoredThumbnail | None:
        row = await self._db.fetch_one(
            "SELECT thumbnail_key, size, content_type FROM media_thumbnails WHERE file_key = ? AND variant = ?",
            (file_key, variant),
        )
        return None if row is None else StoredThumbnail(*row)

    async def count_thumbnails(self, file_key: str, reader: Reader | None = None) -> int:
        count = await (reader or self._db).fetch_value(
            "SELECT COUNT(*) FROM media_thumbnails WHERE file_key = ?", (file_key,)
        )
        return int(count)

    async def add_thumbnail(self, txn: Transaction, file_key: str, variant: str, thumbnail: StoredThumbnail) -> bool:
        """False when there is one already, which stays."""
        added = await txn.execute(
            "INSERT INTO media_thumbnails (file_key, variant, thumbnail_key, size, content_type) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (file_key, variant) DO NOTHING",
            (file_key, variant, *thumbnail),
        )
        return added == 1
