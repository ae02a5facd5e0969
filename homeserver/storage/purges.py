"""Removing rooms and their past from the database, a bounded number of rows at a time.

Whoever makes a table with the column `room_id` adds it to `OF_ROOM`; tests/storage/test_purges.py holds them to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from homeserver.storage.database import Database, Reader, Transaction

OF_ROOM: Final = (
    "rooms",
    "state_changes",
    "current_state",
    "memberships",
    "aliases",
    "published_rooms",
    "receipts",
    "account_data",
    "server_notice_rooms",
    "branch_states",
    "unknown_events",
    "waiting_redactions",
    "delayed_events",
    "sticky_events",
    "push_queue",
    "thread_subscriptions",
    "invites_from_elsewhere",
    "own_newest_events",
    "farewells",
    "partial_states",
    "waiting_events",
)
"""The tables whose rows go with a room, in one transaction: `rooms` first, so that nobody finds the rest."""
IN_PARTS: Final = ("events", "search_events")
"""Those that are too large for that."""
KEPT: Final = ("reports", "blocked_rooms", "deleted_rooms", "backed_up_keys")
"""Those that outlive the room: what was reported, what is blocked, who is still to be told, and people's own backups,
of which the server knows only that they name a room."""

_DELETE_OF_ROOM: Final = {table: f"DELETE FROM {table} WHERE room_id = ?" for table in OF_ROOM}
_DELETE_TERMS: Final = {
    "sqlite": "DELETE FROM search_terms WHERE rowid = ?",
    "postgresql": "DELETE FROM search_terms WHERE position = ?",
}
_CHUNK: Final = 500


class PurgeStore:
    """Deletes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def remove_room(self, txn: Transaction, room_id: str) -> None:
        """Everything of a room but its events, which nobody finds any more."""
        for table in OF_ROOM:
            await txn.execute(_DELETE_OF_ROOM[table], (room_id,))

    async def list_positions(self, room_id: str, limit: int = _CHUNK) -> list[int]:
        """Events of a room, in no order: what is left to delete."""
        rows = await self._db.fetch_all("SELECT position FROM events WHERE room_id = ? LIMIT ?", (room_id, limit))
        return [row[0] for row in rows]

    async def list_purgeable(
        self,
        room_id: str,
        *,
        before: int | None = None,
        before_ms: int | None = None,
        not_of_server: str | None = None,
        keep: Sequence[str] = (),
        limit: int = _CHUNK,
    ) -> list[tuple[int, str]]:
        """(position, event id) of messages before a position or a time, which are neither state nor say why state was
        redacted. `not_of_server`: those of users of that server stay. `keep`: so do these events."""
        conditions = ["room_id = ?", "state_key IS NULL"]
        params: list[Any] = [room_id]
        if before is not None:
            conditions.append("position < ?")
            params.append(before)
        if before_ms is not None:
            conditions.append("origin_server_ts < ?")
            params.append(before_ms)
        if not_of_server is not None:
            conditions.append("substr(sender, length(sender) - ?) <> ?")
            params += [len(not_of_server), ":" + not_of_server]
        marks = ", ".join("?" * len(keep))
        kept = f" AND event_id NOT IN ({marks})" if keep else ""
        rows = await self._db.fetch_all(
            f"SELECT position, event_id FROM events WHERE {' AND '.join(conditions)}{kept}"
            " AND event_id NOT IN (SELECT redacted_by FROM events WHERE room_id = ? AND state_key IS NOT NULL"
            " AND redacted_by IS NOT NULL) ORDER BY position LIMIT ?",
            (*params, *keep, room_id, limit),
        )
        return [(row[0], row[1]) for row in rows]

    async def remove_events(self, txn: Transaction, positions: Sequence[int]) -> None:
        """These events, and what the search index has of them."""
        for start in range(0, len(positions), _CHUNK):
            part = positions[start : start + _CHUNK]
            marks = ", ".join("?" * len(part))
            await self.remove_from_search(txn, part)
            await txn.execute(f"DELETE FROM events WHERE position IN ({marks})", tuple(part))

    async def remove_from_search(self, txn: Transaction, positions: Sequence[int]) -> None:
        """At most 500 events that shall not be found by their words any more."""
        marks = ", ".join("?" * len(positions))
        indexed = await txn.fetch_all(
            f"SELECT position FROM search_events WHERE position IN ({marks})", tuple(positions)
        )
        for (position,) in indexed:
            await txn.execute(_DELETE_TERMS[self._db.dialect], (position,))
        if indexed:
            await txn.execute(f"DELETE FROM search_events WHERE position IN ({marks})", tuple(positions))

    async def list_indexed_of(self, user_id: str, limit: int = _CHUNK) -> list[int]:
        """Events of a user that are in the search index."""
        rows = await self._db.fetch_all("SELECT position FROM search_events WHERE sender = ? LIMIT ?", (user_id, limit))
        return [row[0] for row in rows]

    async def list_expiring_rooms(self, after: str, *, everywhere: bool, limit: int = 200) -> list[str]:
        """Rooms with a retention policy of their own, or (`everywhere`) all rooms; by id, a page at a time."""
        if everywhere:
            rows = await self._db.fetch_all(
                "SELECT room_id FROM rooms WHERE room_id > ? ORDER BY room_id LIMIT ?", (after, limit)
            )
        else:
            rows = await self._db.fetch_all(
                "SELECT room_id FROM current_state WHERE type = 'm.room.retention' AND state_key = ''"
                " AND room_id > ? ORDER BY room_id LIMIT ?",
                (after, limit),
            )
        return [row[0] for row in rows]

    async def list_events_of(
        self,
        room_id: str,
        sender: str,
        *,
        after_ms: int | None = None,
        before_ms: int | None = None,
        limit: int,
    ) -> list[str]:
        """The newest events of a user that can still be redacted: messages, and what member events say of the user."""
        conditions, params = ["room_id = ?", "sender = ?", "status = 0", "redacted_by IS NULL"], [room_id, sender]
        bounds: list[Any] = []
        if after_ms is not None:
            conditions.append("origin_server_ts >= ?")
            bounds.append(after_ms)
        if before_ms is not None:
            conditions.append("origin_server_ts <= ?")
            bounds.append(before_ms)
        rows = await self._db.fetch_all(
            f"SELECT event_id FROM events WHERE {' AND '.join(conditions)} AND type <> 'm.room.redaction'"
            " AND (state_key IS NULL OR (type = 'm.room.member' AND state_key = sender))"
            " ORDER BY position DESC LIMIT ?",
            (*params, *bounds, limit),
        )
        return [row[0] for row in rows]

    async def add_deleted(self, txn: Transaction, room_id: str, user_ids: Sequence[str], now_ts: int) -> int:
        """Remember whom to tell that the room is gone, and since which position."""
        position = txn.next_position()
        await txn.execute_many(
            "INSERT INTO deleted_rooms (user_id, room_id, position, created_ts) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (user_id, room_id) DO UPDATE SET position = excluded.position,"
            " created_ts = excluded.created_ts",
            [(user_id, room_id, position, now_ts) for user_id in user_ids],
        )
        return position

    async def list_deleted(self, user_id: str, after: int, up_to: int) -> list[str]:
        """Rooms that were deleted in (after, up_to] while the user had to do with them."""
        rows = await self._db.fetch_all(
            "SELECT room_id FROM deleted_rooms WHERE user_id = ? AND position > ? AND position <= ? ORDER BY position",
            (user_id, after, up_to),
        )
        return [row[0] for row in rows]

    async def remove_deleted(self, txn: Transaction, before_ts: int) -> None:
        """Forget whom to tell of rooms that were deleted long ago."""
        await txn.execute("DELETE FROM deleted_rooms WHERE created_ts < ?", (before_ts,))

    async def list_local_members(self, room_id: str, server_name: str, reader: Reader | None = None) -> list[str]:
        """Users of this server with any membership of the room that they have not forgotten."""
        rows = await (reader or self._db).fetch_all(
            "SELECT user_id FROM memberships WHERE room_id = ? AND forgotten = 0"
            " AND substr(user_id, length(user_id) - ?) = ?",
            (room_id, len(server_name), ":" + server_name),
        )
        return [row[0] for row in rows]
