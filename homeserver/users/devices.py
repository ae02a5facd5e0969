"""Devices of users: what they are called, when they were seen, and all that goes when one is removed.

Spec: Client-Server API, "Device Management", "Relationship between access tokens and devices".
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Iterable
from dataclasses import replace

from homeserver.clock import Clock
from homeserver.protocol.errors import NotFound, TooLarge
from homeserver.protocol.identifiers import parse_device_id
from homeserver.storage.database import Database, Transaction
from homeserver.storage.device_lists import DeviceListStore
from homeserver.storage.devices import Device, DeviceStore
from homeserver.storage.pushers import PusherStore
from homeserver.storage.to_device import ToDeviceStore
from homeserver.stream import Announcer, Change
from homeserver.users.access_tokens import AccessTokens
from homeserver.users.hooks import UserHooks
from homeserver.users.last_seen import LastSeen

MAXIMUM_NAME_LENGTH = 255
"""Characters of a display name of a device (row D08)."""


class Devices:
    """The devices of local users. The hook `device_removed` hears of every device that goes, in the transaction."""

    def __init__(
        self,
        db: Database,
        store: DeviceStore,
        device_lists: DeviceListStore,
        to_device: ToDeviceStore,
        pushers: PusherStore,
        tokens: AccessTokens,
        last_seen: LastSeen,
        clock: Clock,
        announcer: Announcer,
        hooks: UserHooks,
    ) -> None:
        self._db = db
        self._store = store
        self._device_lists = device_lists
        self._to_device = to_device
        self._pushers = pushers
        self._tokens = tokens
        self._last_seen = last_seen
        self._clock = clock
        self._announcer = announcer
        self._hooks = hooks

    async def list_devices(self, user_id: str) -> list[Device]:
        """The oldest first, with what was seen of them until now."""
        return [self._with_last_seen(device) for device in await self._store.list_devices(user_id)]

    async def get_device(self, user_id: str, device_id: str) -> Device:
        """Raises NotFound."""
        device = await self._store.find_device(user_id, device_id)
        if device is None:
            raise NotFound("There is no such device.")
        return self._with_last_seen(device)

    async def rename_device(self, user_id: str, device_id: str, display_name: str | None) -> None:
        """None leaves the name as it is. Raises NotFound, TooLarge."""
        check_display_name(display_name)
        if display_name is None:
            await self.get_device(user_id, device_id)
            return

        async def rename(txn: Transaction) -> bool:
            if not await self._store.set_display_name(txn, user_id, device_id, display_name):
                return False
            self.mark_changed(txn, user_id)
            return True

        if not await self._db.write(rename):
            raise NotFound("There is no such device.")

    async def create_device(self, user_id: str, device_id: str, display_name: str | None) -> bool:
        """For application services: create or rename; True if it was created."""
        check_display_name(display_name)
        parse_device_id(device_id)
        if await self._db.write(lambda txn: self.ensure_device(txn, user_id, device_id, display_name)):
            return True
        await self.rename_device(user_id, device_id, display_name)
        return False

    async def ensure_device(self, txn: Transaction, user_id: str, device_id: str, display_name: str | None) -> bool:
        """Part of logging in: True if the device is new. The name of a known device stays."""
        if not await self._store.add_device(txn, Device(user_id, device_id, display_name, self._clock.now_ms())):
            return False
        self.mark_changed(txn, user_id)
        return True

    async def delete_devices(self, user_id: str, device_ids: Iterable[str]) -> None:
        """Those that exist, with their tokens, messages and pushers."""
        wanted = list(dict.fromkeys(device_ids))
        await self._db.write(lambda txn: self.remove_devices(txn, user_id, wanted))

    async def delete_all_devices(self, user_id: str, *, keep: str | None = None) -> None:
        """Every device of the user, but `keep`."""
        await self._db.write(lambda txn: self.remove_all_devices(txn, user_id, keep=keep))

    async def remove_all_devices(self, txn: Transaction, user_id: str, *, keep: str | None = None) -> None:
        """The same inside a bigger transaction."""
        devices = await self._store.list_devices(user_id, txn)
        await self.remove_devices(txn, user_id, [device.device_id for device in devices if device.device_id != keep])
        if keep is None:
            for ended in self._hooks.logged_out_everywhere:
                await ended(txn, user_id)

    async def remove_devices(self, txn: Transaction, user_id: str, device_ids: Iterable[str]) -> None:
        """The same inside a bigger transaction."""
        any_removed = False
        for device_id in device_ids:
            any_removed |= await self._store.remove_device(txn, user_id, device_id)
            await self._tokens.revoke_device(txn, user_id, device_id)
            await self._to_device.remove_all_messages(txn, user_id, device_id)
            await self._pushers.remove_pushers_of_device(txn, user_id, device_id)
            for removed in self._hooks.device_removed:
                await removed(txn, user_id, device_id)
        if any_removed:
            self.mark_changed(txn, user_id)

    def mark_changed(self, txn: Transaction, user_id: str) -> int:
        """The user's device list changed (also by new keys): takes a position and announces it at COMMIT."""
        position = self._device_lists.mark_changed(txn, user_id)
        txn.on_commit(lambda: self._announcer.announce(Change.DEVICE_LISTS, position, users=[user_id]))
        return position

    def _with_last_seen(self, device: Device) -> Device:
        seen = self._last_seen.find(device.user_id, device.device_id)
        if seen is None:
            return device
        return replace(device, last_seen_ts=seen[0], last_seen_ip=seen[1], last_seen_user_agent=seen[2])


def new_device_id() -> str:
    """Ten capital letters, as clients show them to people who compare devices."""
    return "".join(secrets.choice(string.ascii_uppercase) for _ in range(10))


def check_display_name(name: str | None) -> None:
    """Raises TooLarge."""
    if name is not None and len(name) > MAXIMUM_NAME_LENGTH:
        raise TooLarge(f"A device's name has at most {MAXIMUM_NAME_LENGTH} characters.")
