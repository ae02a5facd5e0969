"""Which users' device lists changed since a position of the stream. Spec: Client-Server API, "Tracking the device list
for a user"; /sync `device_lists.changed`, /keys/changes and outbound m.device_list_update EDUs read from here."""

from __future__ import annotations

from collections.abc import Sequence

from homeserver.storage.database import Database, Reader, Transaction

_MARK = (
    "INSERT INTO device_list_changes (user_id, position) VALUES (?, ?) "
    "ON CONFLICT (user_id) DO UPDATE SET position = excluded.position"
)
_CHUNK = 500


class DeviceListStore:
    """The table `device_list_changes`: the newest change of each user, so it never grows beyond the users."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def mark_changed(self, txn: Transaction, user_id: str) -> int:
        """Record that a device of the user was added, removed or renamed, or its keys changed; the position taken."""
        position = txn.next_position()
        txn.put(_MARK, user_id, (user_id, position))
        return position

    async def list_changed_users(self, after: int, up_to: int, reader: Reader | None = None) -> list[str]:
        """Everybody whose newest change is in (after, up_to], in the order of the changes."""
        rows = await (reader or self._db).fetch_all(
            "SELECT user_id FROM device_list_changes WHERE position > ? AND position <= ? ORDER BY position",
            (after, up_to),
        )
        return [row[0] for row in rows]

    async def list_changed_among(self, user_ids: Sequence[str], after: int, up_to: int) -> list[str]:
        """Of the given users, those with a change in (after, up_to]. (A later change hides an earlier one: pass the
        current position as `up_to` to miss nobody.)"""
        changed: list[str] = []
        for start in range(0, len(user_ids), _CHUNK):
            chunk = user_ids[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            rows = await self._db.fetch_all(
                "SELECT user_id FROM device_list_changes WHERE position > ? AND position <= ? "
                f"AND user_id IN ({marks})",
                (after, up_to, *chunk),
            )
            changed.extend(row[0] for row in rows)
        return changed
