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
        """Whose token it is, if neither it has expired nor the account has ended."""
        user_id: str | None = await self._db.fetch_value(
            "SELECT openid_tokens.user_id FROM openid_tokens "
            "JOIN accounts ON accounts.user_id = openid_tokens.user_id "
            "WHERE token_hash = ? AND expires_ts > ? AND is_deactivated = 0 AND is_locked = 0",
            (token_hash, now_ts),
        )
        return user_id
