"""The part of the log of a room's state (`state_changes`) that lies before everything that this server saw itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from homeserver.storage.database import Reader, Transaction
from homeserver.storage.rooms import StateKey

FLOOR: Final = -(2**62)
"""Where the oldest state that is known of a room stands in its log."""


class PastStateStore:
    """Rows of places that are not above 0."""

    def __init__(self, db: Reader) -> None:
        self._db = db

    async def is_begun(self, room_id: str) -> bool:
        """Whether anything was written of it. Its oldest state may still be empty: that before the create event."""
        return (
            await self._db.fetch_one(
                "SELECT position FROM state_changes WHERE room_id = ? AND position <= 0 LIMIT 1", (room_id,)
            )
            is not None
        )

    async def list_first_keys(self, room_id: str) -> set[StateKey]:
        """What the log began with when the room came to be known here."""
        rows = await self._db.fetch_all(
            "SELECT type, state_key FROM state_changes WHERE room_id = ? AND position ="
            " (SELECT MIN(position) FROM state_changes WHERE room_id = ? AND position > 0)",
            (room_id, room_id),
        )
        return {(row[0], row[1]) for row in rows}

    async def list_events(self, room_id: str) -> list[str]:
        """The events of history, oldest first."""
        rows = await self._db.fetch_all(
            "SELECT event_id FROM events WHERE room_id = ? AND position <= 0 AND status NOT IN (3, 4)"
            " ORDER BY position",
            (room_id,),
        )
        return [row[0] for row in rows]

    async def clear(self, txn: Transaction, room_id: str) -> None:
        """Forget the log of that time, to write it anew."""
        await txn.execute("DELETE FROM state_changes WHERE room_id = ? AND position <= 0", (room_id,))

    async def set_statuses(self, txn: Transaction, judged: Sequence[tuple[str, int]]) -> None:
        """(event id, status) of events that were judged again."""
        await txn.execute_many(
            "UPDATE events SET status = ? WHERE event_id = ?", [(status, event_id) for event_id, status in judged]
        )

    def set_floor(
        self, txn: Transaction, room_id: str, before: Mapping[StateKey, str], now: Mapping[StateKey, str]
    ) -> None:
        """Replace the oldest state, which was `before`."""
        for key, event_id in now.items():
            if before.get(key) != event_id:
                txn.add(
                    "INSERT INTO state_changes (room_id, type, state_key, position, event_id) VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT (room_id, type, state_key, position) DO UPDATE SET event_id = excluded.event_id",
                    (room_id, *key, FLOOR, event_id),
                )
        for key in before:
            if key not in now:
                txn.add(
                    "DELETE FROM state_changes WHERE room_id = ? AND type = ? AND state_key = ? AND position = ?",
                    (room_id, *key, FLOOR),
                )

    def add_changes(
        self,
        txn: Transaction,
        room_id: str,
        before: Mapping[StateKey, str],
        after: Mapping[StateKey, str],
        position: int,
    ) -> None:
        """From `position` on the state is `after`, and was `before`."""
        if before is after:
            return
        changes: dict[StateKey, str | None] = {
            key: event_id for key, event_id in after.items() if before.get(key) != event_id
        }
        changes.update((key, None) for key in before if key not in after)
        for key, changed_to in changes.items():
            txn.add(
                "INSERT INTO state_changes (room_id, type, state_key, position, event_id) VALUES (?, ?, ?, ?, ?)",
                (room_id, *key, position, changed_to),
            )
