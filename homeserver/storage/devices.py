"""Devices as stored rows, with when and from where each was last seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Row, Transaction

_COLUMNS = "user_id, device_id, display_name, created_ts, last_seen_ts, last_seen_ip, last_seen_user_agent"
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Device:
    """One client of one user. Times in milliseconds."""

    user_id: str
    device_id: str
    display_name: str | None
    created_ts: int
    last_seen_ts: int | None = None
    last_seen_ip: str | None = None
    last_seen_user_agent: str | None = None


class DeviceStore:
    """The table `devices`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_device(self, user_id: str, device_id: str, reader: Reader | None = None) -> Device | None:
        row = await (reader or self._db).fetch_one(
            f"SELECT {_COLUMNS} FROM devices WHERE user_id = ? AND device_id = ?",
            (user_id, device_id),
        )
        return None if row is None else _device(row)

    async def list_devices(self, user_id: str, reader: Reader | None = None) -> list[Device]:
        rows = await (reader or self._db).fetch_all(
            f"SELECT {_COLUMNS} FROM devices WHERE user_id = ? ORDER BY created_ts, device_id",
            (user_id,),
        )
        return [_device(row) for row in rows]

    async def list_device_ids(self, user_ids: Sequence[str], reader: Reader | None = None) -> dict[str, list[str]]:
        """The device ids of many users at once; who has none is absent."""
        found: dict[str, list[str]] = {}
        for start in range(0, len(user_ids), _CHUNK):
            chunk = user_ids[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            rows = await (reader or self._db).fetch_all(
                f"SELECT user_id, device_id FROM devices WHERE user_id IN ({marks}) ORDER BY user_id, device_id",
                chunk,
            )
            for user_id, device_id in rows:
                found.setdefault(user_id, []).append(device_id)
        return found

    async def add_device(self, txn: Transaction, device: Device) -> bool:
        """False if the user has that device already; then nothing changes."""
        added = await txn.execute(
            "INSERT INTO devices (user_id, device_id, display_name, created_ts) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (user_id, device_id) DO NOTHING",
            (device.user_id, device.device_id, device.display_name, device.created_ts),
        )
        return added == 1

    async def set_display_name(self, txn: Transaction, user_id: str, device_id: str, name: str | None) -> bool:
        """False if there is no such device."""
        changed = await txn.execute(
            "UPDATE devices SET display_name = ? WHERE user_id = ? AND device_id = ?", (name, user_id, device_id)
        )
        return changed == 1

    async def remove_device(self, txn: Transaction, user_id: str, device_id: str) -> bool:
        removed = await txn.execute("DELETE FROM devices WHERE user_id = ? AND device_id = ?", (user_id, device_id))
        return removed == 1

    async def set_last_seen(self, txn: Transaction, seen: Sequence[tuple[int, str, str, str, str]]) -> None:
        """Rows of (timestamp in ms, address, user agent, user id, device id)."""
        await txn.execute_many(
            "UPDATE devices SET last_seen_ts = ?, last_seen_ip = ?, last_seen_user_agent = ? "
            "WHERE user_id = ? AND device_id = ?",
            seen,
        )


def _device(row: Row) -> Device:
    return Device(*row)
