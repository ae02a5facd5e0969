"""Push rules as stored rows: each user's changes and own rules, as JSON text that `protocol/push_rules.py` reads."""

from __future__ import annotations

from collections.abc import Sequence

from homeserver.storage.database import Database, Reader, Transaction

_CHUNK = 500


class PushRuleStore:
    """The table `push_rules`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_rules(self, user_id: str, reader: Reader | None = None) -> str | None:
        """The JSON text; None for whoever never changed anything."""
        rules: str | None = await (reader or self._db).fetch_value(
            "SELECT rules FROM push_rules WHERE user_id = ?", (user_id,)
        )
        return rules

    async def find_position(self, user_id: str, reader: Reader | None = None) -> int | None:
        """The position of the newest change, or None."""
        position: int | None = await (reader or self._db).fetch_value(
            "SELECT position FROM push_rules WHERE user_id = ?", (user_id,)
        )
        return position

    async def list_rules(self, user_ids: Sequence[str]) -> dict[str, str]:
        """The JSON texts of those who changed something."""
        found: dict[str, str] = {}
        for start in range(0, len(user_ids), _CHUNK):
            chunk = user_ids[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            rows = await self._db.fetch_all(
                f"SELECT user_id, rules FROM push_rules WHERE user_id IN ({marks})",
                chunk,
            )
            found.update((row[0], row[1]) for row in rows)
        return found

    async def set_rules(self, txn: Transaction, user_id: str, rules: str) -> int:
        """Store JSON text; the position taken. The caller announces it."""
        position = txn.next_position()
        await txn.execute(
            "INSERT INTO push_rules (user_id, rules, position) VALUES (?, ?, ?) "
            "ON CONFLICT (user_id) DO UPDATE SET rules = excluded.rules, position = excluded.position",
            (user_id, rules, position),
        )
        return position

    async def remove_rules(self, txn: Transaction, user_id: str) -> None:
        await txn.execute("DELETE FROM push_rules WHERE user_id = ?", (user_id,))
