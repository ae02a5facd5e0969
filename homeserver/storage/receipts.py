"""How far people have read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.storage.database import Reader, Transaction


@dataclass(frozen=True, slots=True)
class Receipt:
    """`user_id` has read up to `event_id`. `thread_id`: "" for the whole room, "main", or the thread's root.

    `event_position`: where the event is; `ts`: when it was read (milliseconds); `position`: when we heard of it.
    """

    room_id: str
    user_id: str
    receipt_type: str
    thread_id: str
    event_id: str
    event_position: int
    ts: int
    position: int


_COLUMNS = "room_id, user_id, receipt_type, thread_id, event_id, event_position, ts, position"


class ReceiptStore:
    """One receipt for each room, user, type and thread."""

    def __init__(self, db: Reader) -> None:
        self._db = db

    async def set_receipt(self, txn: Transaction, receipt: Receipt) -> bool:
        """Move a receipt forwards; False when it is there or further already."""
        return bool(
            await txn.execute(
                f"INSERT INTO receipts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (room_id, user_id, receipt_type, thread_id) DO UPDATE SET event_id = excluded.event_id,"
                " event_position = excluded.event_position, ts = excluded.ts, position = excluded.position"
                " WHERE excluded.event_position > receipts.event_position",
                (
                    receipt.room_id,
                    receipt.user_id,
                    receipt.receipt_type,
                    receipt.thread_id,
                    receipt.event_id,
                    receipt.event_position,
                    receipt.ts,
                    receipt.position,
                ),
            )
        )

    async def list_receipts(self, room_ids: Sequence[str], after: int) -> list[Receipt]:
        """The receipts of these rooms that were set after a position."""
        found: list[Receipt] = []
        for start in range(0, len(room_ids), 500):
            part = room_ids[start : start + 500]
            rows = await self._db.fetch_all(
                f"SELECT {_COLUMNS} FROM receipts WHERE room_id IN ({', '.join('?' * len(part))}) AND position > ?"
                " ORDER BY position",
                (*part, after),
            )
            found += [Receipt(*row) for row in rows]
        return found

    async def list_stream(self, after: int, up_to: int) -> list[Receipt]:
        """The receipts of all rooms that were set in after < position <= up_to."""
        rows = await self._db.fetch_all(
            f"SELECT {_COLUMNS} FROM receipts WHERE position > ? AND position <= ? ORDER BY position", (after, up_to)
        )
        return [Receipt(*row) for row in rows]

    async def list_own(self, user_id: str, room_id: str | None = None) -> list[Receipt]:
        """A user's own receipts, of all rooms or of one."""
        condition, params = ("", (user_id,)) if room_id is None else (" AND room_id = ?", (user_id, room_id))
        rows = await self._db.fetch_all(f"SELECT {_COLUMNS} FROM receipts WHERE user_id = ?{condition}", params)
        return [Receipt(*row) for row in rows]
