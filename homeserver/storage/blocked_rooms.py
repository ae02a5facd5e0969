"""Rooms that nobody of this server may enter."""

from __future__ import annotations

from homeserver.storage.database import Database, Transaction


class BlockedRoomStore:
    """The table `blocked_rooms`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_blocked(self) -> dict[str, str]:
        """Who blocked what: room id to user id."""
        rows = await self._db.fetch_all("SELECT room_id, user_id FROM blocked_rooms ORDER BY room_id")
        return {row[0]: row[1] for row in rows}

    async def add_blocked(self, txn: Transaction, room_id: str, user_id: str, now_ts: int) -> None:
        """The first who blocked it stays on record."""
        await txn.execute(
            "INSERT INTO blocked_rooms (room_id, user_id, created_ts) VALUES (?, ?, ?)"
            " ON CONFLICT (room_id) DO NOTHING",
            (room_id, user_id, now_ts),
        )

    async def remove_blocked(self, txn: Transaction, room_id: str) -> None:
        await txn.execute("DELETE FROM blocked_rooms WHERE room_id = ?", (room_id,))
