"""What pages said of themselves, kept for a while."""

from __future__ import annotations

from typing import NamedTuple

from homeserver.storage.database import Database, Transaction


class StoredPreview(NamedTuple):
    """`body` is a JSON object as text; None: there was nothing to tell. `media_id` is the picture's."""

    url: str
    fetched_ms: int
    expires_ms: int
    body: str | None
    media_id: str | None


class UrlPreviewStore:
    """The table `url_previews`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_preview(self, url: str, now_ms: int) -> StoredPreview | None:
        """One that has not expired."""
        row = await self._db.fetch_one(
            "SELECT url, fetched_ms, expires_ms, body, media_id FROM url_previews WHERE url = ? AND expires_ms > ?",
            (url, now_ms),
        )
        return None if row is None else StoredPreview(*row)

    async def set_preview(self, txn: Transaction, preview: StoredPreview) -> None:
        """Put it in the place of an older one."""
        await txn.execute(
            "INSERT INTO url_previews (url, fetched_ms, expires_ms, body, media_id) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (url) DO UPDATE SET fetched_ms = excluded.fetched_ms, expires_ms = excluded.expires_ms, "
            "body = excluded.body, media_id = excluded.media_id",
            tuple(preview),
        )

    async def remove_expired(self, txn: Transaction, before_ms: int) -> int:
        """Forget those that expired before; how many."""
        return await txn.execute("DELETE FROM url_previews WHERE expires_ms <= ?", (before_ms,))

    async def list_pictures_without_page(self, server_name: str, before_ms: int, limit: int) -> list[str]:
        """Ids of pictures that were made for previews, before, and that none has any more."""
        rows = await self._db.fetch_all(
            "SELECT media_id FROM media WHERE server_name = ? AND user_id = '' AND created_ms < ? AND media_id NOT IN "
            "(SELECT media_id FROM url_previews WHERE media_id IS NOT NULL) LIMIT ?",
            (server_name, before_ms, limit),
        )
        return [row[0] for row in rows]
