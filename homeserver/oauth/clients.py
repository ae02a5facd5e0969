"""Clients that registered themselves. Spec: Client-Server API, "Dynamic client registration flow"."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from homeserver.clock import Clock
from homeserver.oauth.client_metadata import WrongMetadata, check_metadata
from homeserver.protocol import canonical_json
from homeserver.storage.database import Database, Transaction
from homeserver.storage.oauth_clients import OAuthClient, OAuthClientStore

_UNUSED_KEPT_MS = 7 * 24 * 3600 * 1000
_MAX_BYTES = 8192
"""Anybody may register; what is kept of each is small."""


class OAuthClients:
    """Registers and finds clients."""

    def __init__(self, db: Database, store: OAuthClientStore, clock: Clock) -> None:
        self._db = db
        self._store = store
        self._clock = clock

    async def register(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a registration: the metadata that was kept, and the client's id. "This can be mitigated by
        de-duplicating client registrations that have identical metadata": the same metadata is the same client.
        Raises WrongMetadata."""
        metadata = check_metadata(body)
        encoded = canonical_json.encode(metadata)
        if len(encoded) > _MAX_BYTES:
            raise WrongMetadata(f"The metadata is larger than {_MAX_BYTES} bytes")
        digest = hashlib.sha256(encoded).hexdigest()
        now = self._clock.now_ms()

        async def register(txn: Transaction) -> str:
            known = await self._store.find_client_like(digest, txn)
            if known is not None:
                await self._store.set_used(txn, known, now)
                return known
            await self._store.remove_unused_clients(txn, now - _UNUSED_KEPT_MS)
            client = OAuthClient(secrets.token_urlsafe(16), metadata)
            await self._store.add_client(txn, client, digest, now)
            return client.client_id

        return {**metadata, "client_id": await self._db.write(register), "client_id_issued_at": now // 1000}

    async def find_client(self, client_id: str) -> OAuthClient | None:
        return await self._store.find_client(client_id) if len(client_id) <= 64 else None
