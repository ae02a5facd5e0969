"""Sticky events: which events of a room every member must be told of, and until when (MSC4354)."""

from __future__ import annotations

from homeserver.storage.database import Database, Transaction


class StickyEventStore:
    """The table `sticky_events`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add_event(self, txn: Transaction, position: int, room_id: str, event_id: str, expires_ms: int) -> None:
        txn.add(
            "INSERT INTO sticky_events (position, room_id, event_id, expires_ms) VALUES (?, ?, ?, ?)",
            (position, room_id, event_id, expires_ms),
        )

    async def list_rooms(self, now_ms: int) -> list[tuple[str, int, int]]:
        """(room, place of its newest sticky event, when the last of them expires) of rooms that have any."""
        rows = await self._db.fetch_all(
            "SELECT room_id, MAX(position), MAX(expires_ms) FROM sticky_events WHERE expires_ms > ? GROUP BY room_id",
            (now_ms,),
        )
        return [(row[0], row[1], row[2]) for row in rows]

    async def list_event_ids(self, room_id: str, after: int, up_to: int, now_ms: int, limit: int) -> list[str]:
        """What holds still, of (after, up_to], oldest first, at most the first `limit`."""
        rows = await self._db.fetch_all(
            "SELECT event_id FROM sticky_events WHERE room_id = ? AND position > ? AND position <= ? "
            "AND expires_ms > ? ORDER BY position LIMIT ?",
            (room_id, after, up_to, now_ms, limit),
        )
        return [row[0] for row in rows]

    async def remove_expired(self, txn: Transaction, now_ms: int) -> None:
        await txn.execute("DELETE FROM sticky_events WHERE expires_ms <= ?", (now_ms,))
