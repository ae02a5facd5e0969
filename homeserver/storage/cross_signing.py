"""Cross-signing keys, and signatures that were uploaded apart. Spec: Client-Server API, "Cross-signing"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from homeserver.storage.database import Database, Reader, Transaction

_CHUNK = 500


class CrossSigningKey(NamedTuple):
    """`usage` is master, self_signing or user_signing; `keys` is the JSON object as text."""

    user_id: str
    usage: str
    public_key: str
    keys: str


class KeySignature(NamedTuple):
    """`target_key_id`: a device id or a public master key. `signer_key_id`: `ed25519:…`."""

    target_user_id: str
    target_key_id: str
    signer_user_id: str
    signer_key_id: str
    signature: str


class CrossSigningStore:
    """The tables `cross_signing_keys` and `key_signatures`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_keys(self, user_ids: Sequence[str], reader: Reader | None = None) -> list[CrossSigningKey]:
        found: list[CrossSigningKey] = []
        for start in range(0, len(user_ids), _CHUNK):
            chunk = user_ids[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            rows = await (reader or self._db).fetch_all(
                "SELECT user_id, usage, public_key, keys FROM cross_signing_keys "
                f"WHERE user_id IN ({marks}) ORDER BY user_id, usage",
                chunk,
            )
            found.extend(CrossSigningKey(*row) for row in rows)
        return found

    async def keys_of(self, user_id: str, reader: Reader | None = None) -> dict[str, CrossSigningKey]:
        """One user's keys, by usage."""
        return {key.usage: key for key in await self.list_keys([user_id], reader)}

    async def set_key(self, txn: Transaction, key: CrossSigningKey) -> None:
        await txn.execute(
            "INSERT INTO cross_signing_keys (user_id, usage, public_key, keys) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (user_id, usage) DO UPDATE SET public_key = excluded.public_key, keys = excluded.keys",
            tuple(key),
        )

    async def remove_keys(self, txn: Transaction, user_id: str, usages: Sequence[str]) -> None:
        """With the signatures that they made, and those made of them."""
        for key in (await self.keys_of(user_id, txn)).values():
            if key.usage not in usages:
                continue
            await self.remove_signatures_of(txn, user_id, key.public_key)
            await self.remove_signatures_by(txn, user_id, f"ed25519:{key.public_key}")
            await txn.execute("DELETE FROM cross_signing_keys WHERE user_id = ? AND usage = ?", (user_id, key.usage))

    async def list_signatures(
        self, target_user_ids: Sequence[str], reader: Reader | None = None, *, signer: str | None
    ) -> list[KeySignature]:
        """The signatures of these users' keys which were made by the users themselves, and those made by `signer`."""
        found: list[KeySignature] = []
        for start in range(0, len(target_user_ids), _CHUNK):
            chunk = target_user_ids[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            rows = await (reader or self._db).fetch_all(
                "SELECT target_user_id, target_key_id, signer_user_id, signer_key_id, signature FROM key_signatures "
                f"WHERE target_user_id IN ({marks}) AND (signer_user_id = target_user_id OR signer_user_id = ?)",
                (*chunk, signer or ""),
            )
            found.extend(KeySignature(*row) for row in rows)
        return found

    async def set_signature(self, txn: Transaction, signature: KeySignature, position: int) -> None:
        await txn.execute(
            "INSERT INTO key_signatures (target_user_id, target_key_id, signer_user_id, signer_key_id, signature, "
            "position) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (target_user_id, target_key_id, signer_user_id, signer_key_id) "
            "DO UPDATE SET signature = excluded.signature, position = excluded.position",
            (*signature, position),
        )

    async def list_signed_users(self, signer: str, after: int, up_to: int) -> list[str]:
        """Other users whose keys `signer` signed at positions in (after, up_to]."""
        rows = await self._db.fetch_all(
            "SELECT DISTINCT target_user_id FROM key_signatures WHERE signer_user_id = ? AND position > ? "
            "AND position <= ? AND target_user_id <> ?",
            (signer, after, up_to, signer),
        )
        return [row[0] for row in rows]

    async def remove_signatures_of(self, txn: Transaction, user_id: str, key_id: str) -> None:
        await txn.execute(
            "DELETE FROM key_signatures WHERE target_user_id = ? AND target_key_id = ?", (user_id, key_id)
        )

    async def remove_signatures_by(self, txn: Transaction, user_id: str, signer_key_id: str) -> None:
        await txn.execute(
            "DELETE FROM key_signatures WHERE signer_user_id = ? AND signer_key_id = ?", (user_id, signer_key_id)
        )
