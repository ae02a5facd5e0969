"""What sliding sync connections were sent (`sliding_sync_connections`, `sliding_sync_positions`), and what their lists
ask of many rooms at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.storage.database import Database, Transaction

PART = 500
"""Rooms in one statement."""


@dataclass(frozen=True, slots=True)
class ConnectionKey:
    """A connection of a device; `device_id` is empty for an application service without one."""

    user_id: str
    device_id: str
    conn_id: str

    @property
    def columns(self) -> tuple[str, str, str]:
        return self.user_id, self.device_id, self.conn_id


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """What one answer added, or with `is_whole` all that was sent up to it. `content`: JSON."""

    number: int
    is_whole: bool
    content: str


_OF_CONNECTION = "user_id = ? AND device_id = ? AND conn_id = ?"


class SlidingSyncStore:
    """Connections and their positions."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_positions(self, key: ConnectionKey) -> list[StoredPosition]:
        """The positions of a connection, oldest first; none where it is not known."""
        rows = await self._db.fetch_all(
            f"SELECT number, is_whole, content FROM sliding_sync_positions WHERE {_OF_CONNECTION} ORDER BY number",
            key.columns,
        )
        return [StoredPosition(number, bool(is_whole), content) for number, is_whole, content in rows]

    async def set_used(self, txn: Transaction, key: ConnectionKey, now_ms: int) -> None:
        """The connection is in use."""
        await txn.execute(
            "INSERT INTO sliding_sync_connections (user_id, device_id, conn_id, used_ts) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (user_id, device_id, conn_id) DO UPDATE SET used_ts = excluded.used_ts",
            (*key.columns, now_ms),
        )

    async def add_position(self, txn: Transaction, key: ConnectionKey, position: StoredPosition) -> None:
        await txn.execute(
            "INSERT INTO sliding_sync_positions (user_id, device_id, conn_id, number, is_whole, content)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (*key.columns, position.number, int(position.is_whole), position.content),
        )

    async def remove_positions(
        self, txn: Transaction, key: ConnectionKey, *, up_to: int | None = None, after: int | None = None
    ) -> None:
        """Those with numbers up to `up_to`, those after `after`, or all."""
        condition, params = _OF_CONNECTION, [*key.columns]
        bounds: list[int] = []
        if up_to is not None:
            condition += " AND number <= ?"
            bounds.append(up_to)
        if after is not None:
            condition += " AND number > ?"
            bounds.append(after)
        await txn.execute(f"DELETE FROM sliding_sync_positions WHERE {condition}", (*params, *bounds))

    async def remove_connection(self, txn: Transaction, key: ConnectionKey) -> None:
        for table in ("sliding_sync_positions", "sliding_sync_connections"):
            await txn.execute(f"DELETE FROM {table} WHERE {_OF_CONNECTION}", key.columns)

    async def remove_device(self, txn: Transaction, user_id: str, device_id: str) -> None:
        """All connections of a device that goes."""
        for table in ("sliding_sync_positions", "sliding_sync_connections"):
            await txn.execute(f"DELETE FROM {table} WHERE user_id = ? AND device_id = ?", (user_id, device_id))

    async def list_surplus(self, txn: Transaction, key: ConnectionKey, keep: int) -> list[ConnectionKey]:
        """The connections of the device beyond the `keep` that were used last."""
        rows = await txn.fetch_all(
            "SELECT conn_id FROM sliding_sync_connections WHERE user_id = ? AND device_id = ?"
            " ORDER BY used_ts DESC, conn_id",
            (key.user_id, key.device_id),
        )
        return [ConnectionKey(key.user_id, key.device_id, row[0]) for row in rows[keep:]]

    async def list_unused(self, txn: Transaction, before_ms: int, limit: int) -> list[ConnectionKey]:
        """Connections that nobody has used since a time."""
        rows = await txn.fetch_all(
            "SELECT user_id, device_id, conn_id FROM sliding_sync_connections WHERE used_ts < ?"
            " ORDER BY used_ts LIMIT ?",
            (before_ms, limit),
        )
        return [ConnectionKey(*row) for row in rows]

    async def count(self) -> int:
        return int(await self._db.fetch_value("SELECT COUNT(*) FROM sliding_sync_connections"))

    # ---- many rooms at once

    async def newest_positions(
        self, room_ids: Sequence[str], event_types: Sequence[str] | None = None
    ) -> dict[str, int]:
        """Where the newest accepted event of each room stands, of these types or of any."""
        types = "" if event_types is None else f" AND e.type IN ({', '.join('?' * len(event_types))})"
        found: dict[str, int] = {}
        for start in range(0, len(room_ids), PART):
            part = room_ids[start : start + PART]
            marks = ", ".join("?" * len(part))
            rows = await self._db.fetch_all(
                "SELECT r.room_id, (SELECT e.position FROM events AS e WHERE e.room_id = r.room_id AND e.status = 0"
                f"{types} ORDER BY e.position DESC LIMIT 1) FROM rooms AS r WHERE r.room_id IN ({marks})",
                (*(event_types or ()), *part),
            )
            found.update((room_id, position) for room_id, position in rows if position is not None)
        return found

    async def list_state_json(self, room_ids: Sequence[str], event_types: Sequence[str]) -> list[tuple[str, str, str]]:
        """(room_id, type, JSON of the event) of the rooms' current state of these types, with empty state keys."""
        found: list[tuple[str, str, str]] = []
        types = ", ".join("?" * len(event_types))
        for start in range(0, len(room_ids), PART):
            part = room_ids[start : start + PART]
            marks = ", ".join("?" * len(part))
            rows = await self._db.fetch_all(
                "SELECT c.room_id, c.type, e.json FROM current_state AS c JOIN events AS e ON e.event_id = c.event_id"
                f" WHERE c.room_id IN ({marks}) AND c.type IN ({types}) AND c.state_key = ''",
                (*part, *event_types),
            )
            found += [(row[0], row[1], row[2]) for row in rows]
        return found
