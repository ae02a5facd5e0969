"""Devices that wait, encrypted, for their user to come back. MSC3814."""

from __future__ import annotations

from typing import NamedTuple

from homeserver.storage.database import Database, Reader, Transaction


class DehydratedDevice(NamedTuple):
    """`device_data` is JSON as text."""

    device_id: str
    device_data: str


class DehydratedDeviceStore:
    """The table `dehydrated_devices`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_device(self, user_id: str, reader: Reader | None = None) -> DehydratedDevice | None:
        row = await (reader or self._db).fetch_one(
            "SELECT device_id, device_data FROM dehydrated_devices WHERE user_id = ?", (user_id,)
        )
        return None if row is None else DehydratedDevice(*row)

    async def set_device(self, txn: Transaction, user_id: str, device: DehydratedDevice) -> None:
        await txn.execute(
            "INSERT INTO dehydrated_devices (user_id, device_id, device_data) VALUES (?, ?, ?) "
            "ON CONFLICT (user_id) DO UPDATE SET device_id = excluded.device_id, device_data = excluded.device_data",
            (user_id, *device),
        )

    async def remove_device(self, txn: Transaction, user_id: str, device_id: str) -> None:
        """Nothing, when that device is no dehydrated one."""
        await txn.execute("DELETE FROM dehydrated_devices WHERE user_id = ? AND device_id = ?", (user_id, device_id))
