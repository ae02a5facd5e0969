"""The last known presence of each user as stored rows."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Transaction

_SET = (
    "INSERT INTO presence (user_id, state, status_msg, last_active_ts, position) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (user_id) DO UPDATE SET state = excluded.state, status_msg = excluded.status_msg, "
    "last_active_ts = excluded.last_active_ts, position = excluded.position"
)


@dataclass(frozen=True, slots=True)
class StoredPresence:
    """`last_active_ts` in milliseconds, 0 for never."""

    user_id: str
    state: str
    status_msg: str | None
    last_active_ts: int
    position: int


class PresenceStore:
    """The table `presence`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_presence(self, user_id: str) -> StoredPresence | None:
        row = await self._db.fetch_one(
            "SELECT user_id, state, status_msg, last_active_ts, position FROM presence WHERE user_id = ?", (user_id,)
        )
        return None if row is None else StoredPresence(*row)

    async def list_present(self, server_name: str) -> list[str]:
        """The users of all other servers than `server_name` who are not offline."""
        rows = await self._db.fetch_all(
            "SELECT user_id FROM presence WHERE state <> 'offline' AND user_id NOT LIKE ?", (f"%:{server_name}",)
        )
        return [row[0] for row in rows]

    async def list_changes(self, after: int, up_to: int) -> list[StoredPresence]:
        """What is newest in (after, up_to], in the order of the changes."""
        rows = await self._db.fetch_all(
            "SELECT user_id, state, status_msg, last_active_ts, position FROM presence "
            "WHERE position > ? AND position <= ? ORDER BY position, user_id",
            (after, up_to),
        )
        return [StoredPresence(*row) for row in rows]

    def set_presence(self, txn: Transaction, presence: StoredPresence) -> None:
        txn.put(
            _SET,
            presence.user_id,
            (
                presence.user_id,
                presence.state,
                presence.status_msg,
                presence.last_active_ts,
                presence.position,
            ),
        )
