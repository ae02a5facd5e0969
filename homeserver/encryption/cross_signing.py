"""Users publish the keys that stand for themselves. Spec: Client-Server API, "Cross-signing"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from homeserver.encryption.key_format import check_signature, parse_cross_signing_key
from homeserver.protocol.errors import Forbidden, InvalidParam, MissingParam
from homeserver.storage.cross_signing import CrossSigningKey, CrossSigningStore
from homeserver.storage.database import Database, Transaction
from homeserver.storage.devices import DeviceStore
from homeserver.users.devices import Devices

USAGES: Final = ("master", "self_signing", "user_signing")


class ProofNeeded(Exception):
    """The upload would replace keys, so whoever asks must prove who they are. Nothing was changed."""


class CrossSigning:
    """The cross-signing keys of local users."""

    def __init__(self, db: Database, store: CrossSigningStore, device_store: DeviceStore, devices: Devices) -> None:
        self._db = db
        self._store = store
        self._device_store = device_store
        self._devices = devices

    async def upload(self, user_id: str, keys: Mapping[str, Any], *, is_proved: bool) -> None:
        """`keys`: by usage. Raises BadJson, InvalidParam, TooLarge, MissingParam, InvalidKeySignature, Forbidden; and
        ProofNeeded, after all else was checked, unless `is_proved`.

        "This allows clients to freely upload one set of keys, but not modify/overwrite keys if they already exist.
        Allowing clients to upload the same set of keys more than once makes this endpoint idempotent".
        """
        parsed = {usage: parse_cross_signing_key(keys[usage], user_id, usage) for usage in USAGES if usage in keys}
        if len({public_key for public_key, _ in parsed.values()}) != len(parsed):
            raise InvalidParam("Each cross-signing key must be another one.")

        async def write(txn: Transaction) -> None:
            existing = await self._store.keys_of(user_id, txn)
            new = {
                usage: CrossSigningKey(user_id, usage, public_key, msgspec.json.encode(value).decode())
                for usage, (public_key, value) in parsed.items()
                if usage not in existing or existing[usage].public_key != public_key
            }
            master = new.get("master") or existing.get("master")
            if master is None:
                raise MissingParam("There is no master key, neither in the request nor from before.")
            if not new:
                return
            for usage in new:
                if usage != "master":
                    check_signature(parsed[usage][1], user_id, f"ed25519:{master.public_key}", master.public_key)
            await self._check_no_device_is_named_so(txn, user_id, new)
            if "master" in existing and not is_proved:
                raise ProofNeeded
            # A new master key is another identity: what the old one signed goes with it.
            await self._store.remove_keys(txn, user_id, USAGES if "master" in new else list(new))
            for key in new.values():
                await self._store.set_key(txn, key)
            self._devices.mark_changed(txn, user_id)

        await self._db.write(write)

    async def remove_user(self, txn: Transaction, user_id: str) -> None:
        """The account has ended."""
        await self._store.remove_keys(txn, user_id, USAGES)

    async def _check_no_device_is_named_so(
        self, txn: Transaction, user_id: str, keys: Mapping[str, CrossSigningKey]
    ) -> None:
        for key in keys.values():
            if await self._device_store.find_device(user_id, key.public_key, txn) is not None:
                raise Forbidden("One of the keys is the same as the id of one of your devices.")
