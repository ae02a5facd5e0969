"""Profiles of local users as stored rows: one JSON object each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from homeserver.storage.database import Database, Reader, Transaction


class ProfileStore:
    """The table `profiles`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_fields(self, user_id: str, reader: Reader | None = None) -> dict[str, Any] | None:
        """The whole profile; None for whoever has none (unknown, guest, deactivated)."""
        text = await (reader or self._db).fetch_value("SELECT fields FROM profiles WHERE user_id = ?", (user_id,))
        if text is None:
            return None
        fields: dict[str, Any] = json.loads(text)
        return fields

    async def set_fields(self, txn: Transaction, user_id: str, fields: Mapping[str, Any]) -> None:
        await txn.execute(
            "INSERT INTO profiles (user_id, fields) VALUES (?, ?) "
            "ON CONFLICT (user_id) DO UPDATE SET fields = excluded.fields",
            (user_id, json.dumps(fields, ensure_ascii=False, separators=(",", ":"))),
        )

    async def remove_profile(self, txn: Transaction, user_id: str) -> None:
        await txn.execute("DELETE FROM profiles WHERE user_id = ?", (user_id,))
