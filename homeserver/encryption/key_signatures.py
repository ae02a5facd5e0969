"""Users sign keys: their own devices, their own master key, and the master keys of others.

Only what the specification gives a meaning is stored, and only what verifies. Spec: Client-Server API, "Cross-signing".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from homeserver.encryption.key_format import check_signature, unsigned_part
from homeserver.encryption.remote import RemoteKeys
from homeserver.protocol.errors import BadJson, InvalidKeySignature, InvalidParam, MatrixError, NotFound, TooLarge
from homeserver.protocol.identifiers import domain_of, is_user_id
from homeserver.storage.cross_signing import CrossSigningStore, KeySignature
from homeserver.storage.database import Database, Transaction
from homeserver.storage.device_keys import DeviceKeyStore
from homeserver.stream import Announcer, Change
from homeserver.users.devices import Devices

MAXIMUM_SIGNED: Final = 500
"""Signed objects in one request."""
_REMOTE_TIMEOUT_MS: Final = 10_000


class KeySignatures:
    """Uploads of signatures."""

    def __init__(
        self,
        db: Database,
        store: CrossSigningStore,
        device_keys: DeviceKeyStore,
        devices: Devices,
        announcer: Announcer,
        remote: RemoteKeys,
        server_name: str,
    ) -> None:
        self._db = db
        self._store = store
        self._device_keys = device_keys
        self._devices = devices
        self._announcer = announcer
        self._remote = remote
        self._server_name = server_name

    async def upload(self, user_id: str, signed: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """The failures: {user id: {key id: error}}. What did not fail is stored. Raises InvalidParam, TooLarge."""
        if sum(len(each) for each in signed.values()) > MAXIMUM_SIGNED:
            raise TooLarge(f"At most {MAXIMUM_SIGNED} keys can be signed at once.")
        for target in signed:
            if not is_user_id(target):
                raise InvalidParam("The members of the body must be user ids.")
        remote_masters = await self._remote_masters(signed)

        async def write(txn: Transaction) -> dict[str, dict[str, Any]]:
            failures: dict[str, dict[str, Any]] = {}
            new: list[KeySignature] = []
            for target, objects in signed.items():
                for key_id, obj in objects.items():
                    try:
                        new += await self._verified(txn, user_id, target, key_id, obj, remote_masters)
                    except MatrixError as error:
                        failures.setdefault(target, {})[key_id] = error.body()
            await self._keep(txn, user_id, new)
            return failures

        return await self._db.write(write)

    async def _keep(self, txn: Transaction, user_id: str, new: list[KeySignature]) -> None:
        own = [each for each in new if each.target_user_id == user_id]
        others = [each for each in new if each.target_user_id != user_id]
        if own:
            position = self._devices.mark_changed(txn, user_id)
            for each in own:
                await self._store.set_signature(txn, each, position)
        if others:
            # Nobody but the signer sees these: they are news to the signer's own devices alone.
            signed_at = txn.next_position()
            for each in others:
                await self._store.set_signature(txn, each, signed_at)
            txn.on_commit(lambda: self._announcer.announce(Change.DEVICE_LISTS, signed_at, users=[user_id]))

    async def _verified(
        self,
        txn: Transaction,
        user_id: str,
        target: str,
        key_id: str,
        obj: Any,
        remote_masters: Mapping[str, Mapping[str, Any]],
    ) -> list[KeySignature]:
        """The signatures in `obj` which are new. Raises NotFound, InvalidParam, BadJson, InvalidKeySignature."""
        signatures = _signatures_by(obj, user_id)
        stored, signers = await self._signable(txn, user_id, target, key_id, signatures, remote_masters)
        if unsigned_part(stored) != unsigned_part(obj):
            raise InvalidParam("What was signed is not the key as it was published.")
        relevant = {signer: signatures[signer] for signer in signers if signer in signatures}
        if not relevant:
            raise InvalidKeySignature("There is no signature by a key of yours that may sign this key.")
        known = stored.get("signatures", {}).get(user_id, {})
        new = []
        for signer, signature in relevant.items():
            candidate = {**unsigned_part(stored), "signatures": {user_id: {signer: signature}}}
            check_signature(candidate, user_id, signer, signers[signer])
            if known.get(signer) != signature:
                new.append(KeySignature(target, key_id, user_id, signer, signature))
        return new

    async def _signable(
        self,
        txn: Transaction,
        user_id: str,
        target: str,
        key_id: str,
        signatures: Mapping[str, str],
        remote_masters: Mapping[str, Mapping[str, Any]],
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """(the key as it was published, {key id: public key} of those that may sign it). Raises NotFound.

        One's own devices are signed by the self-signing key; one's own master key by one's own devices; the master key
        of somebody else by one's user-signing key.
        """
        own = await self._store.keys_of(user_id, txn)
        theirs = own if target == user_id else await self._store.keys_of(target, txn)
        master = theirs.get("master")
        if master is not None and master.public_key == key_id:
            stored = msgspec.json.decode(master.keys)
            if target == user_id:
                return stored, await self._own_devices(txn, user_id, signatures)
            return stored, _public(own.get("user_signing"))
        if target in remote_masters and f"ed25519:{key_id}" in remote_masters[target].get("keys", {}):
            return dict(remote_masters[target]), _public(own.get("user_signing"))
        if target == user_id and (text := await self._device_keys.find_keys(user_id, key_id, txn)) is not None:
            return msgspec.json.decode(text), _public(own.get("self_signing"))
        raise NotFound("There is no such key, or it is not one that you may sign.")

    async def _own_devices(self, txn: Transaction, user_id: str, signatures: Mapping[str, str]) -> dict[str, str]:
        """The signing keys of those devices that are said to have signed."""
        found = {}
        for signer in signatures:
            text = await self._device_keys.find_keys(user_id, signer.removeprefix("ed25519:"), txn)
            public_key = None if text is None else msgspec.json.decode(text)["keys"].get(signer)
            if public_key is not None:
                found[signer] = public_key
        return found

    async def _remote_masters(self, signed: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        remote: dict[str, list[str]] = {target: [] for target in signed if domain_of(target) != self._server_name}
        if not remote:
            return {}
        body, _ = await self._remote.query_keys(remote, _REMOTE_TIMEOUT_MS)
        found: Mapping[str, Mapping[str, Any]] = body.get("master_keys", {})
        return found


def _signatures_by(obj: Any, user_id: str) -> dict[str, str]:
    signatures = obj.get("signatures") if isinstance(obj, dict) else None
    by_user = signatures.get(user_id, {}) if isinstance(signatures, dict) else None
    if not isinstance(by_user, dict) or not all(isinstance(each, str) for each in by_user.values()):
        raise BadJson("A signed object must have 'signatures': {user id: {key id: signature}}.")
    return {name: value for name, value in by_user.items() if len(name) <= 255 and len(value) <= 255}


def _public(key: Any) -> dict[str, str]:
    return {} if key is None else {f"ed25519:{key.public_key}": key.public_key}
