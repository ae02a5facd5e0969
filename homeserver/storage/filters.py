"""Filters that clients stored, each once per user."""

from __future__ import annotations

from homeserver.storage.database import Database, Transaction


class FilterStore:
    """The table `filters`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_filter(self, user_id: str, filter_id: int) -> str | None:
        """The JSON text, or None."""
        content: str | None = await self._db.fetch_value(
            "SELECT content FROM filters WHERE user_id = ? AND filter_id = ?", (user_id, filter_id)
        )
        return content

    async def add_filter(self, txn: Transaction, user_id: str, digest: str, content: str, limit: int) -> int | None:
        """The id of the filter, new or known by its digest; None if the user has `limit` others."""
        known = await txn.fetch_value(
            "SELECT filter_id FROM filters WHERE user_id = ? AND digest = ?", (user_id, digest)
        )
        if known is not None:
            return int(known)
        count = int(await txn.fetch_value("SELECT COUNT(*) FROM filters WHERE user_id = ?", (user_id,)))
        if count >= limit:
            return None
        await txn.execute(
            "INSERT INTO filters (user_id, filter_id, digest, content) VALUES (?, ?, ?, ?)",
            (user_id, count, digest, content),
        )
        return count

    async def remove_filters(self, txn: Transaction, user_id: str) -> None:
        await txn.execute("DELETE FROM filters WHERE user_id = ?", (user_id,))
