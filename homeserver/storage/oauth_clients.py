"""Registered OAuth clients as stored rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.storage.database import Database, Reader, Transaction


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """`metadata` as it was registered: the members of `OAuthClientMetadata` that the server knows."""

    client_id: str
    metadata: Mapping[str, Any]


class OAuthClientStore:
    """The table `oauth_clients`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_client(self, client_id: str, reader: Reader | None = None) -> OAuthClient | None:
        row = await (reader or self._db).fetch_one(
            "SELECT client_id, metadata FROM oauth_clients WHERE client_id = ?", (client_id,)
        )
        return None if row is None else OAuthClient(row[0], json.loads(row[1]))

    async def find_client_like(self, metadata_hash: str, reader: Reader | None = None) -> str | None:
        """The id of the client with the same metadata."""
        found = await (reader or self._db).fetch_value(
            "SELECT client_id FROM oauth_clients WHERE metadata_hash = ?", (metadata_hash,)
        )
        return None if found is None else str(found)

    async def add_client(self, txn: Transaction, client: OAuthClient, metadata_hash: str, now_ts: int) -> None:
        await txn.execute(
            "INSERT INTO oauth_clients (client_id, metadata_hash, metadata, used_ts) VALUES (?, ?, ?, ?)",
            (client.client_id, metadata_hash, json.dumps(dict(client.metadata)), now_ts),
        )

    async def set_used(self, txn: Transaction, client_id: str, now_ts: int) -> None:
        await txn.execute("UPDATE oauth_clients SET used_ts = ? WHERE client_id = ?", (now_ts, client_id))

    async def remove_unused_clients(self, txn: Transaction, before_ts: int) -> None:
        """Those that nobody used since and nobody has a session with: "The server MUST NOT delete client registrations
        that have an active session"."""
        await txn.execute(
            "DELETE FROM oauth_clients WHERE used_ts < ? "
            "AND NOT EXISTS (SELECT 1 FROM oauth_sessions WHERE oauth_sessions.client_id = oauth_clients.client_id)",
            (before_ts,),
        )
