"""The rooms in which the server speaks to its users."""

from __future__ import annotations

from homeserver.storage.database import Database, Transaction


class ServerNoticeStore:
    """The table `server_notice_rooms`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_rooms(self) -> dict[str, str]:
        """Room id to the user to whom the server speaks there."""
        rows = await self._db.fetch_all("SELECT room_id, user_id FROM server_notice_rooms")
        return {row[0]: row[1] for row in rows}

    async def set_room(self, txn: Transaction, user_id: str, room_id: str) -> None:
        await txn.execute(
            "INSERT INTO server_notice_rooms (user_id, room_id) VALUES (?, ?)"
            " ON CONFLICT (user_id) DO UPDATE SET room_id = excluded.room_id",
            (user_id, room_id),
        )

    async def remove_room(self, txn: Transaction, room_id: str) -> None:
        await txn.execute("DELETE FROM server_notice_rooms WHERE room_id = ?", (room_id,))
