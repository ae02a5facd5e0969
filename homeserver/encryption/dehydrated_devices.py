"""A device that nobody runs: it takes messages while its user has no other, and is then opened by the next one.

The client makes it, encrypts what it needs and leaves it here. MSC3814.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from homeserver.encryption.device_keys import DeviceKeys, parse_upload
from homeserver.protocol.errors import Forbidden, InvalidParam, NotFound, TooLarge
from homeserver.protocol.identifiers import parse_device_id
from homeserver.storage.database import Database, Transaction
from homeserver.storage.dehydrated_devices import DehydratedDevice, DehydratedDeviceStore
from homeserver.storage.devices import DeviceStore
from homeserver.users.devices import Devices, check_display_name
from homeserver.users.to_device import PAGE, ToDevice

MAXIMUM_DATA_BYTES: Final = 128 * 1024


class DehydratedDevices:
    """At most one for each user."""

    def __init__(
        self,
        db: Database,
        store: DehydratedDeviceStore,
        device_store: DeviceStore,
        devices: Devices,
        device_keys: DeviceKeys,
        to_device: ToDevice,
    ) -> None:
        self._db = db
        self._store = store
        self._device_store = device_store
        self._devices = devices
        self._device_keys = device_keys
        self._to_device = to_device

    async def set_device(
        self,
        user_id: str,
        device_id: str,
        device_data: Mapping[str, Any],
        display_name: str | None,
        *,
        device_keys: Mapping[str, Any],
        one_time_keys: Mapping[str, Any],
        fallback_keys: Mapping[str, Any],
    ) -> None:
        """In place of the one before, which goes with its messages.

        Raises BadJson, InvalidParam, TooLarge, Forbidden.
        """
        parse_device_id(device_id)
        check_display_name(display_name)
        data = msgspec.json.encode(device_data)
        if len(data) > MAXIMUM_DATA_BYTES:
            raise TooLarge(f"'device_data' must be at most {MAXIMUM_DATA_BYTES} bytes.")
        upload = parse_upload(user_id, device_id, device_keys, one_time_keys, fallback_keys)

        async def write(txn: Transaction) -> None:
            before = await self._store.find_device(user_id, txn)
            if before is not None:
                await self._devices.remove_devices(txn, user_id, [before.device_id])
            if await self._device_store.find_device(user_id, device_id, txn) is not None:
                raise InvalidParam("There is a device with this id already.")
            await self._devices.ensure_device(txn, user_id, device_id, display_name)
            await self._store.set_device(txn, user_id, DehydratedDevice(device_id, data.decode()))
            await self._device_keys.keep(txn, user_id, device_id, upload)

        await self._db.write(write)

    async def get_device(self, user_id: str) -> DehydratedDevice:
        """Raises NotFound."""
        device = await self._store.find_device(user_id)
        if device is None:
            raise NotFound("There is no dehydrated device.")
        return device

    async def delete_device(self, user_id: str) -> str:
        """The id of the device that went. Raises NotFound."""
        device = await self.get_device(user_id)
        await self._devices.delete_devices(user_id, [device.device_id])
        return device.device_id

    async def list_events(self, user_id: str, device_id: str, after: int) -> tuple[list[dict[str, Any]], int, bool]:
        """(messages to the device, the oldest first; where to read on; whether there may be more).

        They stay until the device goes, for whoever opens it may fail and begin again. Raises NotFound, Forbidden.
        """
        if (await self.get_device(user_id)).device_id != device_id:
            raise Forbidden("This is not your dehydrated device.")
        events, read_to = await self._to_device.list_messages(user_id, device_id, after, self._db.position)
        return events, read_to, len(events) == PAGE

    async def remove_device(self, txn: Transaction, user_id: str, device_id: str) -> None:
        """A device goes (`UserHooks.device_removed`), perhaps this one."""
        await self._store.remove_device(txn, user_id, device_id)
