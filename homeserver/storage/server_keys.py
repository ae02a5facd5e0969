"""Signing keys of other servers. What was published once is never replaced by another key of the same id (B08)."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class ServerKey:
    """`verify_key`: unpadded Base64. `valid_until_ts`: milliseconds; of an old key, when it was last used."""

    server_name: str
    key_id: str
    verify_key: str
    valid_until_ts: int
    is_old: bool


class ServerKeyStore:
    """The tables `server_keys` and `published_keys`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_keys(self, server_name: str) -> list[ServerKey]:
        rows = await self._db.fetch_all(
            "SELECT server_name, key_id, verify_key, valid_until_ts, is_old FROM server_keys WHERE server_name = ?",
            (server_name,),
        )
        return [ServerKey(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows]

    async def set_keys(self, txn: Transaction, keys: list[ServerKey]) -> None:
        """Keep keys; of one that is known under its id, only how long it is valid may change."""
        for key in keys:
            txn.add(
                "INSERT INTO server_keys (server_name, key_id, verify_key, valid_until_ts, is_old)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (server_name, key_id) DO UPDATE SET"
                " valid_until_ts = excluded.valid_until_ts, is_old = excluded.is_old"
                " WHERE server_keys.verify_key = excluded.verify_key",
                (key.server_name, key.key_id, key.verify_key, key.valid_until_ts, int(key.is_old)),
            )

    async def find_published(self, server_name: str) -> str | None:
        """What a server has published and signed of its keys, as JSON."""
        found: str | None = await self._db.fetch_value(
            "SELECT body FROM published_keys WHERE server_name = ?", (server_name,)
        )
        return found

    async def set_published(self, txn: Transaction, server_name: str, body: str, now_ms: int, *, keep: int) -> None:
        """Keep it (JSON); of all servers only the `keep` newest, since anybody may name any."""
        await txn.execute(
            "INSERT INTO published_keys (server_name, body, fetched_ts) VALUES (?, ?, ?)"
            " ON CONFLICT (server_name) DO UPDATE SET body = excluded.body, fetched_ts = excluded.fetched_ts",
            (server_name, body, now_ms),
        )
        await txn.execute(
            "DELETE FROM published_keys WHERE fetched_ts < (SELECT fetched_ts FROM published_keys"
            " ORDER BY fetched_ts DESC LIMIT 1 OFFSET ?)",
            (keep - 1,),
        )
