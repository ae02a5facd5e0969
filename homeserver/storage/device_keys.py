"""The identity keys that devices published. Spec: Client-Server API, "Device keys"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Transaction

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    """`keys` is the signed JSON object as text; `display_name` that of the device."""

    user_id: str
    device_id: str
    keys: str
    display_name: str | None


class DeviceKeyStore:
    """The table `device_keys`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_keys(self, user_id: str, device_id: str, reader: Reader | None = None) -> str | None:
        """The JSON object as text."""
        found = await (reader or self._db).fetch_value(
            "SELECT keys FROM device_keys WHERE user_id = ? AND device_id = ?", (user_id, device_id)
        )
        return None if found is None else str(found)

    async def list_keys(self, user_ids: Sequence[str], reader: Reader | None = None) -> list[DeviceKeys]:
        """Every device of these users that has keys."""
        found: list[DeviceKeys] = []
        for start in range(0, len(user_ids), _CHUNK):
            chunk = user_ids[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            rows = await (reader or self._db).fetch_all(
                "SELECT k.user_id, k.device_id, k.keys, d.display_name FROM device_keys k "
                "LEFT JOIN devices d ON d.user_id = k.user_id AND d.device_id = k.device_id "
                f"WHERE k.user_id IN ({marks}) ORDER BY k.user_id, k.device_id",
                chunk,
            )
            found.extend(DeviceKeys(*row) for row in rows)
        return found

    async def set_keys(self, txn: Transaction, user_id: str, device_id: str, keys: str) -> None:
        await txn.execute(
            "INSERT INTO device_keys (user_id, device_id, keys) VALUES (?, ?, ?) "
            "ON CONFLICT (user_id, device_id) DO UPDATE SET keys = excluded.keys",
            (user_id, device_id, keys),
        )

    async def remove_keys(self, txn: Transaction, user_id: str, device_id: str) -> None:
        await txn.execute("DELETE FROM device_keys WHERE user_id = ? AND device_id = ?", (user_id, device_id))
