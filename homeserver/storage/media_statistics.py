"""Files as operators count and list them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from homeserver.storage.database import Database
from homeserver.storage.reports import contains
from homeserver.storage.user_directory import fold

UsageOrder = Literal["user_id", "displayname", "media_length", "media_count"]

_ORDER: Final[dict[str, str]] = {
    "user_id": "m.user_id",
    "displayname": "COALESCE(MIN(d.display_name), '')",
    "media_length": "SUM(m.size)",
    "media_count": "COUNT(*)",
}


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Whose files to count: of which time (milliseconds), and of whom (a part of the id or the name)."""

    order_by: UsageOrder = "user_id"
    descending: bool = False
    from_ms: int = 0
    until_ms: int | None = None
    term: str | None = None
    start: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file of a user. Times in milliseconds."""

    media_id: str
    server_name: str
    created_ms: int
    file_key: str
    sha256: str | None
    size: int
    content_type: str
    file_name: str | None

    def members(self) -> dict[str, Any]:
        """What its owner may know of it."""
        return {
            "uri": f"mxc://{self.server_name}/{self.media_id}",
            "created_ts": self.created_ms,
            "sha256": self.sha256,
            "size": self.size,
            "content_type": self.content_type,
            "file_name": self.file_name,
        }


class MediaStatisticsStore:
    """Queries over all files of local users."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_of_user(self, user_id: str) -> list[UploadedFile]:
        """The oldest first."""
        rows = await self._db.fetch_all(
            "SELECT media_id, server_name, created_ms, file_key, sha256, size, content_type, file_name FROM media"
            " WHERE user_id = ? AND file_key IS NOT NULL ORDER BY created_ms, media_id",
            (user_id,),
        )
        return [UploadedFile(*row) for row in rows]

    async def page_usage(self, query: UsageQuery) -> tuple[list[tuple[str, str | None, int, int]], int]:
        """((user id, display name, number, bytes) of each, how many users there are)."""
        conditions, params = ["m.file_key IS NOT NULL", "m.user_id <> ''", "m.created_ms >= ?"], list[Any]()
        params.append(query.from_ms)
        if query.until_ms is not None:
            conditions.append("m.created_ms <= ?")
            params.append(query.until_ms)
        if query.term is not None:
            conditions.append("(m.user_id LIKE ? ESCAPE '\\' OR d.search_name LIKE ? ESCAPE '\\')")
            params += [contains(query.term.lower()), contains(fold(query.term))]
        where = " AND ".join(conditions)
        tables = "media AS m LEFT JOIN user_directory AS d ON d.user_id = m.user_id"
        total = await self._db.fetch_value(f"SELECT COUNT(DISTINCT m.user_id) FROM {tables} WHERE {where}", params)
        direction = "DESC" if query.descending else "ASC"
        rows = await self._db.fetch_all(
            f"SELECT m.user_id, MIN(d.display_name), COUNT(*), SUM(m.size) FROM {tables} WHERE {where}"
            f" GROUP BY m.user_id ORDER BY {_ORDER[query.order_by]} {direction}, m.user_id LIMIT ? OFFSET ?",
            (*params, query.limit, query.start),
        )
        return [(row[0], row[1], int(row[2]), int(row[3] or 0)) for row in rows], int(total)
