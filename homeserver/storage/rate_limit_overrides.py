"""How fast single users may send, in place of the configured limit."""

from __future__ import annotations

from homeserver.storage.database import Database, Transaction


class RateLimitOverrideStore:
    """The table `rate_limit_overrides`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_overrides(self) -> dict[str, tuple[int, int]]:
        """User id to (events a second, events at once)."""
        rows = await self._db.fetch_all("SELECT user_id, per_second, burst FROM rate_limit_overrides")
        return {row[0]: (row[1], row[2]) for row in rows}

    async def find_override(self, user_id: str) -> tuple[int, int] | None:
        row = await self._db.fetch_one(
            "SELECT per_second, burst FROM rate_limit_overrides WHERE user_id = ?", (user_id,)
        )
        return None if row is None else (row[0], row[1])

    async def set_override(self, txn: Transaction, user_id: str, per_second: int, burst: int) -> None:
        await txn.execute(
            "INSERT INTO rate_limit_overrides (user_id, per_second, burst) VALUES (?, ?, ?)"
            " ON CONFLICT (user_id) DO UPDATE SET per_second = excluded.per_second, burst = excluded.burst",
            (user_id, per_second, burst),
        )

    async def remove_override(self, txn: Transaction, user_id: str) -> None:
        await txn.execute("DELETE FROM rate_limit_overrides WHERE user_id = ?", (user_id,))
