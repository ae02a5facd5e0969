"""Account data as stored rows, global (room_id "") and per room; tags and push rules are types of it."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Transaction

GLOBAL = ""


@dataclass(frozen=True, slots=True)
class AccountData:
    """One entry. `content` is a JSON object as text; `room_id` is "" for global account data."""

    room_id: str
    type: str
    content: str
    position: int


class AccountDataStore:
    """The table `account_data`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_content(self, user_id: str, room_id: str, type: str, reader: Reader | None = None) -> str | None:
        """The JSON text, or None."""
        content: str | None = await (reader or self._db).fetch_value(
            "SELECT content FROM account_data WHERE user_id = ? AND room_id = ? AND type = ?", (user_id, room_id, type)
        )
        return content

    async def list_changes(
        self, user_id: str, after: int, up_to: int, reader: Reader | None = None
    ) -> list[AccountData]:
        """What is newest in (after, up_to], global and of all rooms, in the order of the changes."""
        rows = await (reader or self._db).fetch_all(
            "SELECT room_id, type, content, position FROM account_data "
            "WHERE user_id = ? AND position > ? AND position <= ? ORDER BY position",
            (user_id, after, up_to),
        )
        return [AccountData(*row) for row in rows]

    async def count_types(self, user_id: str, room_id: str, reader: Reader | None = None) -> int:
        count = await (reader or self._db).fetch_value(
            "SELECT COUNT(*) FROM account_data WHERE user_id = ? AND room_id = ?", (user_id, room_id)
        )
        return int(count)

    async def set_content(self, txn: Transaction, user_id: str, room_id: str, type: str, content: str) -> int:
        """Store JSON text; the position taken. The caller announces it."""
        position = txn.next_position()
        await txn.execute(
            "INSERT INTO account_data (user_id, room_id, type, content, position) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (user_id, room_id, type) DO UPDATE SET content = excluded.content, "
            "position = excluded.position",
            (user_id, room_id, type, content, position),
        )
        return position

    async def remove_all(self, txn: Transaction, user_id: str) -> None:
        await txn.execute("DELETE FROM account_data WHERE user_id = ?", (user_id,))
