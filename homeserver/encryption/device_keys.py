"""Devices publish their keys. Spec: Client-Server API, "Uploading keys". Limits: rows B23 and D10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeserver.encryption.key_counts import KeyCounts
from homeserver.encryption.key_format import parse_device_keys, parse_one_time_key
from homeserver.protocol import strict_json
from homeserver.protocol.errors import Forbidden, InvalidParam, NotFound, TooLarge, Unknown
from homeserver.storage.cross_signing import CrossSigningStore
from homeserver.storage.database import Database, Transaction
from homeserver.storage.device_keys import DeviceKeyStore
from homeserver.storage.devices import DeviceStore
from homeserver.storage.one_time_keys import OneTimeKey, OneTimeKeyStore
from homeserver.users.devices import Devices

MAXIMUM_KEYS: Final = 500
"""One-time keys of one algorithm that a device may have; beyond, the oldest go (row D10)."""
MAXIMUM_ALGORITHMS: Final = 10
"""Algorithms of which a device may have one-time or fallback keys, so that many names are no way around the limit."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Keys that were found to be right. `identity` is the device's signed object as canonical text."""

    identity: str | None = None
    one_time: Sequence[OneTimeKey] = ()
    fallback: Sequence[OneTimeKey] = ()


def parse_upload(
    user_id: str,
    device_id: str,
    device_keys: Any = None,
    one_time_keys: Mapping[str, Any] | None = None,
    fallback_keys: Mapping[str, Any] | None = None,
) -> Upload:
    """Raises BadJson, InvalidParam, TooLarge."""
    identity = None if device_keys is None else parse_device_keys(device_keys, user_id, device_id)
    fallback = _parse(fallback_keys or {}, user_id)
    if len({key.algorithm for key in fallback}) != len(fallback):
        raise InvalidParam("There can be only one fallback key of each algorithm.")
    return Upload(identity, _parse(one_time_keys or {}, user_id), fallback)


class DeviceKeys:
    """What devices of local users published."""

    def __init__(
        self,
        db: Database,
        store: DeviceKeyStore,
        one_time_keys: OneTimeKeyStore,
        cross_signing: CrossSigningStore,
        device_store: DeviceStore,
        devices: Devices,
        counts: KeyCounts,
    ) -> None:
        self._db = db
        self._store = store
        self._one_time_keys = one_time_keys
        self._cross_signing = cross_signing
        self._device_store = device_store
        self._devices = devices
        self._counts = counts

    async def upload(
        self,
        user_id: str,
        device_id: str,
        *,
        device_keys: Any = None,
        one_time_keys: Mapping[str, Any] | None = None,
        fallback_keys: Mapping[str, Any] | None = None,
    ) -> dict[str, int]:
        """How many one-time keys the device has now, by algorithm. All of it is stored, or nothing.

        Raises BadJson, InvalidParam, TooLarge; NotFound when there is no such device; Unknown when a key id is there
        with another key; Forbidden when the device is named like a cross-signing key.
        """
        upload = parse_upload(user_id, device_id, device_keys, one_time_keys, fallback_keys)
        if upload == Upload():
            return await self._one_time_keys.count_keys(user_id, device_id)
        return await self._db.write(lambda txn: self.keep(txn, user_id, device_id, upload))

    async def keep(self, txn: Transaction, user_id: str, device_id: str, upload: Upload) -> dict[str, int]:
        """The same inside a bigger transaction."""
        if await self._device_store.find_device(user_id, device_id, txn) is None:
            raise NotFound("There is no such device.")
        if upload.identity is not None:
            await self._set_identity(txn, user_id, device_id, upload.identity)
        new = await self._new_keys(txn, user_id, device_id, upload.one_time)
        if new:
            await self._one_time_keys.add_keys(txn, user_id, device_id, new)
            for algorithm in {key.algorithm for key in new}:
                await self._one_time_keys.trim_keys(txn, user_id, device_id, algorithm, MAXIMUM_KEYS)
        for key in upload.fallback:
            await self._one_time_keys.set_fallback_key(txn, user_id, device_id, key)
        counts = await self._one_time_keys.count_keys(user_id, device_id, txn)
        if new or upload.fallback:
            algorithms = counts.keys() | await self._one_time_keys.list_fallback_algorithms(user_id, device_id, txn)
            if len(algorithms) > MAXIMUM_ALGORITHMS:
                raise TooLarge(f"A device may have keys of at most {MAXIMUM_ALGORITHMS} algorithms.")
            self._counts.changed(txn, user_id, device_id)
        return counts

    async def remove_device(self, txn: Transaction, user_id: str, device_id: str) -> None:
        """The device goes, and all that is known of its keys (`UserHooks.device_removed`)."""
        await self._store.remove_keys(txn, user_id, device_id)
        await self._one_time_keys.remove_keys(txn, user_id, device_id)
        await self._remove_signatures(txn, user_id, device_id)
        self._counts.changed(txn, user_id, device_id)

    async def _set_identity(self, txn: Transaction, user_id: str, device_id: str, text: str) -> None:
        """When these are other keys than those that the device had, everything that hung on the old ones goes."""
        stored = await self._store.find_keys(user_id, device_id, txn)
        if stored == text:
            return
        if any(key.public_key == device_id for key in (await self._cross_signing.keys_of(user_id, txn)).values()):
            raise Forbidden("A device cannot be named like a cross-signing key.")
        if stored is not None and _keys_of(stored) != _keys_of(text):
            await self._one_time_keys.remove_keys(txn, user_id, device_id)
            await self._remove_signatures(txn, user_id, device_id)
            self._counts.changed(txn, user_id, device_id)
        await self._store.set_keys(txn, user_id, device_id, text)
        self._devices.mark_changed(txn, user_id)

    async def _remove_signatures(self, txn: Transaction, user_id: str, device_id: str) -> None:
        await self._cross_signing.remove_signatures_of(txn, user_id, device_id)
        await self._cross_signing.remove_signatures_by(txn, user_id, f"ed25519:{device_id}")

    async def _new_keys(
        self, txn: Transaction, user_id: str, device_id: str, keys: Sequence[OneTimeKey]
    ) -> list[OneTimeKey]:
        """Those that are not stored yet. Raises Unknown when one is there with other content: a client whose storage
        was reset. (The Rust SDK reads the sentence.)"""
        by_algorithm: dict[str, list[str]] = {}
        for key in keys:
            by_algorithm.setdefault(key.algorithm, []).append(key.key_id)
        stored: dict[tuple[str, str], str] = {}
        for algorithm, key_ids in by_algorithm.items():
            for known in await self._one_time_keys.list_keys(user_id, device_id, algorithm, key_ids, txn):
                stored[algorithm, known.key_id] = known.key
        new = []
        for key in keys:
            old = stored.get((key.algorithm, key.key_id))
            if old is None:
                new.append(key)
            elif old != key.key:
                raise Unknown(
                    f"One time key {key.algorithm}:{key.key_id} already exists. Old key: {old}; new key: {key.key}"
                )
        return new


def _parse(keys: Mapping[str, Any], user_id: str) -> tuple[OneTimeKey, ...]:
    if len(keys) > MAXIMUM_KEYS:
        raise TooLarge(f"At most {MAXIMUM_KEYS} keys can be uploaded at once.")
    return tuple(OneTimeKey(*parse_one_time_key(name, value, user_id)) for name, value in keys.items())


def _keys_of(text: str) -> Any:
    return strict_json.decode(text.encode())["keys"]
