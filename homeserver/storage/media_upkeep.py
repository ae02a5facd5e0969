"""What operators ask of files, and what time takes: lists, quarantine, deletion by age, files that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from homeserver.storage.database import Database, Transaction
from homeserver.storage.media import COLUMNS, Media, to_media

OrderBy = Literal[
    "media_id",
    "upload_name",
    "created_ts",
    "last_access_ts",
    "media_length",
    "media_type",
    "quarantined_by",
    "safe_from_quarantine",
]
_ORDER: Final[dict[str, str]] = {
    "media_id": "media_id",
    "upload_name": "COALESCE(file_name, '')",
    "created_ts": "created_ms",
    "last_access_ts": "COALESCE(last_access_ms, 0)",
    "media_length": "size",
    "media_type": "content_type",
    "quarantined_by": "COALESCE(quarantined_by, '')",
    "safe_from_quarantine": "is_protected",
}
UsageOrder = Literal["media_length", "media_count", "user_id"]
_USAGE_ORDER: Final[dict[str, str]] = {
    "media_length": "SUM(size)",
    "media_count": "COUNT(*)",
    "user_id": "user_id",
}
_CHUNK: Final = 500


class MediaUsage(NamedTuple):
    """How many files a user has, and their bytes."""

    user_id: str
    files: int
    size: int


class MediaUpkeepStore:
    """The tables `media` and `media_thumbnails` again, by other columns."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_of_user(
        self, user_id: str, order_by: OrderBy, descending: bool, start: int, limit: int
    ) -> tuple[list[Media], int]:
        """One page of the files that a user uploaded, and the number of all."""
        direction = "DESC" if descending else "ASC"
        rows = await self._db.fetch_all(
            f"SELECT {COLUMNS} FROM media WHERE user_id = ? AND file_key IS NOT NULL "
            f"ORDER BY {_ORDER[order_by]} {direction}, media_id LIMIT ? OFFSET ?",
            (user_id, limit, start),
        )
        count = await self._db.fetch_value(
            "SELECT COUNT(*) FROM media WHERE user_id = ? AND file_key IS NOT NULL", (user_id,)
        )
        return [to_media(row) for row in rows], int(count)

    async def list_usage(
        self, from_ms: int, until_ms: int, order_by: UsageOrder, descending: bool, start: int, limit: int
    ) -> tuple[list[MediaUsage], int]:
        """Users with what they uploaded in a time, one page; and the number of such users."""
        direction = "DESC" if descending else "ASC"
        rows = await self._db.fetch_all(
            "SELECT user_id, COUNT(*), SUM(size) FROM media WHERE user_id <> '' AND file_key IS NOT NULL "
            "AND created_ms >= ? AND created_ms < ? "
            f"GROUP BY user_id ORDER BY {_USAGE_ORDER[order_by]} {direction}, user_id LIMIT ? OFFSET ?",
            (from_ms, until_ms, limit, start),
        )
        count = await self._db.fetch_value(
            "SELECT COUNT(DISTINCT user_id) FROM media WHERE user_id <> '' AND file_key IS NOT NULL "
            "AND created_ms >= ? AND created_ms < ?",
            (from_ms, until_ms),
        )
        return [MediaUsage(row[0], int(row[1]), int(row[2])) for row in rows], int(count)

    async def list_unused(
        self, server_name: str, is_local: bool, before_ms: int, larger_than: int, after: str, limit: int
    ) -> list[Media]:
        """Files of this server (or of all others) that nobody uploaded or asked for since, by id, after one."""
        side = "server_name = ?" if is_local else "server_name <> ?"
        rows = await self._db.fetch_all(
            f"SELECT {COLUMNS} FROM media WHERE {side} AND file_key IS NOT NULL AND size > ? AND is_protected = 0 "
            "AND is_quarantined = 0 AND created_ms < ? AND COALESCE(last_access_ms, 0) < ? AND media_id > ? "
            "ORDER BY media_id LIMIT ?",
            (server_name, larger_than, before_ms, before_ms, after, limit),
        )
        return [to_media(row) for row in rows]

    async def list_local_avatars(self, server_name: str) -> set[str]:
        """Ids of media that are the picture of a user or a room."""
        prefix = f"mxc://{server_name}/"
        rows = await self._db.fetch_all("SELECT fields FROM profiles WHERE fields LIKE ?", (f"%{prefix}%",))
        rows += await self._db.fetch_all(
            "SELECT e.json FROM current_state AS s JOIN events AS e ON e.event_id = s.event_id "
            "WHERE s.type IN ('m.room.avatar', 'm.room.member') AND e.json LIKE ?",
            (f"%{prefix}%",),
        )
        found: set[str] = set()
        for (text,) in rows:
            for part in text.split(prefix)[1:]:
                found.add(part.partition('"')[0])
        return found

    async def quarantine_content(self, txn: Transaction, media: Media, by: str) -> int:
        """Put a file and all others with the same content in quarantine, but for protected ones; how many."""
        return await txn.execute(
            "UPDATE media SET is_quarantined = 1, quarantined_by = ? WHERE is_protected = 0 AND is_quarantined = 0 "
            "AND ((server_name = ? AND media_id = ?) OR sha256 = ?)",
            (by, media.server_name, media.media_id, media.sha256),
        )

    async def quarantine_of_user(self, txn: Transaction, user_id: str, by: str) -> int:
        return await txn.execute(
            "UPDATE media SET is_quarantined = 1, quarantined_by = ? WHERE user_id = ? AND is_protected = 0 "
            "AND is_quarantined = 0",
            (by, user_id),
        )

    async def release_content(self, txn: Transaction, media: Media) -> int:
        return await txn.execute(
            "UPDATE media SET is_quarantined = 0, quarantined_by = NULL WHERE is_quarantined = 1 "
            "AND ((server_name = ? AND media_id = ?) OR sha256 = ?)",
            (media.server_name, media.media_id, media.sha256),
        )

    async def set_protected(self, txn: Transaction, server_name: str, media_id: str, is_protected: bool) -> bool:
        """False when there is no such media."""
        changed = await txn.execute(
            "UPDATE media SET is_protected = ? WHERE server_name = ? AND media_id = ?",
            (int(is_protected), server_name, media_id),
        )
        return changed == 1

    async def set_accessed(self, txn: Transaction, accessed: Mapping[tuple[str, str], int]) -> None:
        """When media, by (server, id), were last asked for."""
        for (server_name, media_id), now_ms in accessed.items():
            await txn.execute(
                "UPDATE media SET last_access_ms = ? WHERE server_name = ? AND media_id = ?",
                (now_ms, server_name, media_id),
            )

    async def remove(self, txn: Transaction, media: Media) -> list[str]:
        """Forget one; the keys of the files that nobody knows from now on."""
        changed = await txn.execute(
            "DELETE FROM media WHERE server_name = ? AND media_id = ?", (media.server_name, media.media_id)
        )
        if not changed or media.file_key is None:
            return []
        rows = await txn.fetch_all("SELECT thumbnail_key FROM media_thumbnails WHERE file_key = ?", (media.file_key,))
        await txn.execute("DELETE FROM media_thumbnails WHERE file_key = ?", (media.file_key,))
        return [media.file_key, *(row[0] for row in rows)]

    async def remove_expired(self, txn: Transaction, now_ms: int) -> int:
        """Addresses that never got a file; how many went."""
        return await txn.execute("DELETE FROM media WHERE file_key IS NULL AND expires_ms <= ?", (now_ms,))

    async def list_unknown(self, keys: Iterable[str]) -> list[str]:
        """Those keys that no file and no thumbnail has."""
        wanted = list(keys)
        known: set[str] = set()
        for start in range(0, len(wanted), _CHUNK):
            known |= await self._known(wanted[start : start + _CHUNK])
        return [key for key in wanted if key not in known]

    async def _known(self, keys: Sequence[str]) -> set[str]:
        marks = ", ".join("?" * len(keys))
        rows = await self._db.fetch_all(f"SELECT file_key FROM media WHERE file_key IN ({marks})", keys)
        rows += await self._db.fetch_all(
            f"SELECT thumbnail_key FROM media_thumbnails WHERE thumbnail_key IN ({marks})", keys
        )
        return {row[0] for row in rows}
