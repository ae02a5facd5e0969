"""OpenID tokens as stored rows: hashes only."""

from __future__ import annotations

from homeserver.storage.database import Database, Transaction


class OpenIdTokenStore:
    """The table `openid_tokens`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add_token(self, txn: Transaction, token_hash: str, user_id: str, expires_ts: int, now_ts: int) -> None:
        """Also forgets those that have expired."""
        await txn.execute("DELETE FROM openid_tokens WHERE expires_ts <= ?", (now_ts,))
        await txn.execute(
            "INSERT INTO openid_tokens (token_hash, user_id, expires_ts) VALUES (?, ?, ?)",
            (token_hash, user_id, expires_ts),
        )

    async def find_user(self, token_hash: str, now_ts: int) -> str | None:
        """Whose token it is, if it has not expired."""
        user_id: str | None = await self._db.fetch_value(
            "SELECT user_id FROM openid_tokens WHERE token_hash = ? AND expires_ts > ?", (token_hash, now_ts)
        )
        return user_id
