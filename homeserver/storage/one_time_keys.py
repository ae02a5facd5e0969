"""One-time keys and fallback keys of devices. Spec: Client-Server API, "One-time and fallback keys"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from homeserver.storage.database import Database, Reader, Transaction

_CHUNK = 500
_OF_DEVICE = "WHERE user_id = ? AND device_id = ?"


class OneTimeKey(NamedTuple):
    """`key` is JSON as text: a string or an object."""

    algorithm: str
    key_id: str
    key: str


class OneTimeKeyStore:
    """The tables `one_time_keys` and `fallback_keys`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_keys(
        self, user_id: str, device_id: str, algorithm: str, key_ids: Sequence[str], reader: Reader | None = None
    ) -> list[OneTimeKey]:
        """Those of the given one-time keys that are there."""
        found: list[OneTimeKey] = []
        for start in range(0, len(key_ids), _CHUNK):
            chunk = key_ids[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            rows = await (reader or self._db).fetch_all(
                f"SELECT algorithm, key_id, key FROM one_time_keys {_OF_DEVICE} AND algorithm = ? "
                f"AND key_id IN ({marks})",
                (user_id, device_id, algorithm, *chunk),
            )
            found.extend(OneTimeKey(*row) for row in rows)
        return found

    async def add_keys(self, txn: Transaction, user_id: str, device_id: str, keys: Sequence[OneTimeKey]) -> None:
        """One upload. The keys must be new."""
        newest = await txn.fetch_value(f"SELECT MAX(upload) FROM one_time_keys {_OF_DEVICE}", (user_id, device_id))
        upload = (newest or 0) + 1
        await txn.execute_many(
            "INSERT INTO one_time_keys (user_id, device_id, algorithm, key_id, upload, key) VALUES (?, ?, ?, ?, ?, ?)",
            [(user_id, device_id, key.algorithm, key.key_id, upload, key.key) for key in keys],
        )

    async def trim_keys(self, txn: Transaction, user_id: str, device_id: str, algorithm: str, keep: int) -> int:
        """Leave only the newest `keep` keys of an algorithm; how many went."""
        stored = await txn.fetch_value(
            f"SELECT COUNT(*) FROM one_time_keys {_OF_DEVICE} AND algorithm = ?", (user_id, device_id, algorithm)
        )
        if stored <= keep:
            return 0
        return await txn.execute(
            f"DELETE FROM one_time_keys {_OF_DEVICE} AND algorithm = ? AND key_id IN ("
            f"SELECT key_id FROM one_time_keys {_OF_DEVICE} AND algorithm = ? ORDER BY upload, key_id LIMIT ?)",
            (user_id, device_id, algorithm, user_id, device_id, algorithm, stored - keep),
        )

    async def take_key(self, txn: Transaction, user_id: str, device_id: str, algorithm: str) -> OneTimeKey | None:
        """The oldest one-time key, which is deleted and so never given again; None when there is none."""
        while True:
            row = await txn.fetch_one(
                f"SELECT algorithm, key_id, key FROM one_time_keys {_OF_DEVICE} AND algorithm = ? "
                "ORDER BY upload, key_id LIMIT 1",
                (user_id, device_id, algorithm),
            )
            if row is None:
                return None
            taken = OneTimeKey(*row)
            if await txn.execute(
                f"DELETE FROM one_time_keys {_OF_DEVICE} AND algorithm = ? AND key_id = ?",
                (user_id, device_id, algorithm, taken.key_id),
            ):
                return taken

    async def take_fallback_key(
        self, txn: Transaction, user_id: str, device_id: str, algorithm: str
    ) -> OneTimeKey | None:
        """The fallback key, which stays and is marked as used."""
        row = await txn.fetch_one(
            f"SELECT algorithm, key_id, key FROM fallback_keys {_OF_DEVICE} AND algorithm = ?",
            (user_id, device_id, algorithm),
        )
        if row is None:
            return None
        await txn.execute(
            f"UPDATE fallback_keys SET is_used = 1 {_OF_DEVICE} AND algorithm = ? AND is_used = 0",
            (user_id, device_id, algorithm),
        )
        return OneTimeKey(*row)

    async def set_fallback_key(self, txn: Transaction, user_id: str, device_id: str, key: OneTimeKey) -> None:
        """In place of the one before. The very same key uploaded again stays as used as it was."""
        await txn.execute(
            "INSERT INTO fallback_keys (user_id, device_id, algorithm, key_id, key, is_used) VALUES (?, ?, ?, ?, ?, 0) "
            "ON CONFLICT (user_id, device_id, algorithm) DO UPDATE SET key_id = excluded.key_id, key = excluded.key, "
            "is_used = CASE WHEN fallback_keys.key_id = excluded.key_id AND fallback_keys.key = excluded.key "
            "THEN fallback_keys.is_used ELSE 0 END",
            (user_id, device_id, key.algorithm, key.key_id, key.key),
        )

    async def count_keys(self, user_id: str, device_id: str, reader: Reader | None = None) -> dict[str, int]:
        """How many one-time keys are left, by algorithm."""
        rows = await (reader or self._db).fetch_all(
            f"SELECT algorithm, COUNT(*) FROM one_time_keys {_OF_DEVICE} GROUP BY algorithm ORDER BY algorithm",
            (user_id, device_id),
        )
        return {algorithm: int(count) for algorithm, count in rows}

    async def list_fallback_algorithms(
        self, user_id: str, device_id: str, reader: Reader | None = None
    ) -> dict[str, bool]:
        """The algorithms that have a fallback key, and whether it was used."""
        rows = await (reader or self._db).fetch_all(
            f"SELECT algorithm, is_used FROM fallback_keys {_OF_DEVICE} ORDER BY algorithm", (user_id, device_id)
        )
        return {algorithm: bool(is_used) for algorithm, is_used in rows}

    async def remove_keys(self, txn: Transaction, user_id: str, device_id: str) -> None:
        """All of a device."""
        await txn.execute(f"DELETE FROM one_time_keys {_OF_DEVICE}", (user_id, device_id))
        await txn.execute(f"DELETE FROM fallback_keys {_OF_DEVICE}", (user_id, device_id))
