"""What people have accepted, as stored rows."""

from __future__ import annotations

from collections.abc import Mapping

from homeserver.storage.database import Database, Reader, Transaction


class ConsentStore:
    """The table `consents`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_consents(self, user_id: str, reader: Reader | None = None) -> dict[str, str]:
        """The version that was accepted last of each policy."""
        rows = await (reader or self._db).fetch_all(
            "SELECT policy, version FROM consents WHERE user_id = ?", (user_id,)
        )
        return {row[0]: row[1] for row in rows}

    async def set_consents(self, txn: Transaction, user_id: str, versions: Mapping[str, str], now_ts: int) -> None:
        """Accept these versions; what was accepted before stays on record with its own time."""
        for policy, version in versions.items():
            await txn.execute(
                "INSERT INTO consents (user_id, policy, version, accepted_ts) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (user_id, policy) DO UPDATE SET version = excluded.version, "
                "accepted_ts = excluded.accepted_ts WHERE consents.version <> excluded.version",
                (user_id, policy, version, now_ts),
            )
