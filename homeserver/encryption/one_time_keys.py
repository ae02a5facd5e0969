"""Keys that open a conversation are given out, each once. Spec: Client-Server API, "One-time and fallback keys"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from homeserver.encryption.key_counts import KeyCounts
from homeserver.encryption.remote import RemoteKeys
from homeserver.protocol.errors import InvalidParam, TooLarge
from homeserver.protocol.identifiers import domain_of, is_user_id
from homeserver.storage.database import Database, Transaction
from homeserver.storage.one_time_keys import OneTimeKeyStore

MAXIMUM_CLAIMS: Final = 10_000
_CLAIMS_PER_TRANSACTION: Final = 200
"""Everybody's writes wait for a transaction, so a big request is several of them."""

Wanted = Mapping[str, Mapping[str, str]]
"""{user id: {device id: algorithm}}"""


class OneTimeKeys:
    """Claims."""

    def __init__(
        self, db: Database, store: OneTimeKeyStore, counts: KeyCounts, remote: RemoteKeys, server_name: str
    ) -> None:
        self._db = db
        self._store = store
        self._counts = counts
        self._remote = remote
        self._server_name = server_name

    async def claim(self, wanted: Wanted, timeout_ms: int) -> dict[str, Any]:
        """The body of the answer to a client. Raises InvalidParam, TooLarge."""
        for user_id in wanted:
            if not is_user_id(user_id):
                raise InvalidParam("The keys of 'one_time_keys' must be user ids.")
        remote = {user_id: each for user_id, each in wanted.items() if domain_of(user_id) != self._server_name}
        found: dict[str, Any] = dict(await self.claim_local(wanted))
        failures: dict[str, Any] = {}
        if remote:
            body, failures = await self._remote.claim_keys(remote, timeout_ms)
            found.update(body.get("one_time_keys", {}))
        return {"one_time_keys": found, "failures": failures}

    async def claim_local(self, wanted: Wanted) -> dict[str, dict[str, dict[str, Any]]]:
        """Of users of this server alone, also for other servers: {user: {device: {algorithm:key_id: key}}}. A device
        that has no key left, or does not exist, is missing. Raises TooLarge."""
        claims = [
            (user_id, device_id, algorithm)
            for user_id, devices in wanted.items()
            if domain_of(user_id) == self._server_name
            for device_id, algorithm in devices.items()
        ]
        if len(claims) > MAXIMUM_CLAIMS:
            raise TooLarge(f"At most {MAXIMUM_CLAIMS} keys can be claimed at once.")
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for start in range(0, len(claims), _CLAIMS_PER_TRANSACTION):
            part = claims[start : start + _CLAIMS_PER_TRANSACTION]
            for user_id, device_id, name, key in await self._claim(part):
                found.setdefault(user_id, {})[device_id] = {name: msgspec.Raw(key.encode())}
        return found

    async def _claim(self, claims: list[tuple[str, str, str]]) -> list[tuple[str, str, str, str]]:
        async def take(txn: Transaction) -> list[tuple[str, str, str, str]]:
            taken = []
            for user_id, device_id, algorithm in claims:
                key = await self._store.take_key(txn, user_id, device_id, algorithm)
                if key is None:
                    key = await self._store.take_fallback_key(txn, user_id, device_id, algorithm)
                if key is not None:
                    taken.append((user_id, device_id, f"{algorithm}:{key.key_id}", key.key))
                    self._counts.changed(txn, user_id, device_id)
            return taken

        return await self._db.write(take)
