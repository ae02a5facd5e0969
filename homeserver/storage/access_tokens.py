"""Access, refresh and login tokens as stored rows: hashes only, never the tokens themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Transaction


@dataclass(frozen=True, slots=True)
class AccessToken:
    """`refresh_id`: the refresh token issued together with it. `is_unused`: came from a refresh and was not seen yet.
    Times in milliseconds."""

    token_id: int
    token_hash: str
    user_id: str
    device_id: str
    created_ts: int
    expires_ts: int | None
    refresh_id: int | None
    is_unused: bool


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """`parent_id`: the refresh token it was exchanged for. `is_spent`: a token that it was exchanged for was used."""

    refresh_id: int
    token_hash: str
    user_id: str
    device_id: str
    created_ts: int
    expires_ts: int | None
    parent_id: int | None
    is_spent: bool


_ACCESS = "token_id, token_hash, user_id, device_id, created_ts, expires_ts, refresh_id, is_unused"
_REFRESH = "refresh_id, token_hash, user_id, device_id, created_ts, expires_ts, parent_id, is_spent"


class AccessTokenStore:
    """The tables `access_tokens`, `refresh_tokens` and `login_tokens`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_token(self, token_hash: str, reader: Reader | None = None) -> AccessToken | None:
        row = await (reader or self._db).fetch_one(
            f"SELECT {_ACCESS} FROM access_tokens WHERE token_hash = ?",
            (token_hash,),
        )
        if row is None:
            return None
        token_id, token_hash, user_id, device_id, created_ts, expires_ts, refresh_id, is_unused = row
        return AccessToken(
            token_id, token_hash, user_id, device_id, created_ts, expires_ts, refresh_id, bool(is_unused)
        )

    async def add_token(self, txn: Transaction, token: AccessToken) -> None:
        await txn.execute(
            f"INSERT INTO access_tokens ({_ACCESS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                token.token_id,
                token.token_hash,
                token.user_id,
                token.device_id,
                token.created_ts,
                token.expires_ts,
                token.refresh_id,
                int(token.is_unused),
            ),
        )

    async def set_used(self, txn: Transaction, token_id: int) -> None:
        await txn.execute("UPDATE access_tokens SET is_unused = 0 WHERE token_id = ?", (token_id,))

    async def remove_tokens_of_refresh(self, txn: Transaction, refresh_id: int) -> None:
        await txn.execute("DELETE FROM access_tokens WHERE refresh_id = ?", (refresh_id,))

    async def remove_tokens_of_device(self, txn: Transaction, user_id: str, device_id: str) -> None:
        """Access and refresh tokens."""
        await txn.execute("DELETE FROM access_tokens WHERE user_id = ? AND device_id = ?", (user_id, device_id))
        await txn.execute("DELETE FROM refresh_tokens WHERE user_id = ? AND device_id = ?", (user_id, device_id))

    async def remove_tokens_of_user(self, txn: Transaction, user_id: str) -> None:
        """Access, refresh and login tokens."""
        await txn.execute("DELETE FROM access_tokens WHERE user_id = ?", (user_id,))
        await txn.execute("DELETE FROM refresh_tokens WHERE user_id = ?", (user_id,))
        await txn.execute("DELETE FROM login_tokens WHERE user_id = ?", (user_id,))

    async def find_refresh_token(self, token_hash: str, reader: Reader | None = None) -> RefreshToken | None:
        row = await (reader or self._db).fetch_one(
            f"SELECT {_REFRESH} FROM refresh_tokens WHERE token_hash = ?",
            (token_hash,),
        )
        if row is None:
            return None
        refresh_id, token_hash, user_id, device_id, created_ts, expires_ts, parent_id, is_spent = row
        return RefreshToken(
            refresh_id, token_hash, user_id, device_id, created_ts, expires_ts, parent_id, bool(is_spent)
        )

    async def add_refresh_token(self, txn: Transaction, token: RefreshToken) -> None:
        await txn.execute(
            f"INSERT INTO refresh_tokens ({_REFRESH}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                token.refresh_id,
                token.token_hash,
                token.user_id,
                token.device_id,
                token.created_ts,
                token.expires_ts,
                token.parent_id,
                int(token.is_spent),
            ),
        )

    async def set_parent_spent(self, txn: Transaction, refresh_id: int) -> int | None:
        """Spend the token that `refresh_id` was exchanged for; its id, or None if there is none."""
        parent_id = await txn.fetch_value("SELECT parent_id FROM refresh_tokens WHERE refresh_id = ?", (refresh_id,))
        if parent_id is None:
            return None
        await txn.execute("UPDATE refresh_tokens SET is_spent = 1 WHERE refresh_id = ?", (parent_id,))
        return int(parent_id)

    async def list_refresh_children(self, txn: Transaction, refresh_id: int) -> Sequence[int]:
        rows = await txn.fetch_all("SELECT refresh_id FROM refresh_tokens WHERE parent_id = ?", (refresh_id,))
        return [row[0] for row in rows]

    async def remove_refresh_token(self, txn: Transaction, refresh_id: int) -> None:
        await txn.execute("DELETE FROM refresh_tokens WHERE refresh_id = ?", (refresh_id,))

    async def remove_old_spent(self, txn: Transaction, user_id: str, device_id: str, before_ts: int) -> None:
        await txn.execute(
            "DELETE FROM refresh_tokens WHERE user_id = ? AND device_id = ? AND is_spent = 1 AND created_ts < ?",
            (user_id, device_id, before_ts),
        )

    async def add_login_token(self, txn: Transaction, token_hash: str, user_id: str, expires_ts: int) -> None:
        await txn.execute(
            "INSERT INTO login_tokens (token_hash, user_id, expires_ts) VALUES (?, ?, ?)",
            (token_hash, user_id, expires_ts),
        )

    async def take_login_token(self, txn: Transaction, token_hash: str, now_ts: int) -> str | None:
        """Whose token it is, and it is gone; None if it is unknown, used or expired."""
        row = await txn.fetch_one("SELECT user_id, expires_ts FROM login_tokens WHERE token_hash = ?", (token_hash,))
        await txn.execute("DELETE FROM login_tokens WHERE token_hash = ? OR expires_ts <= ?", (token_hash, now_ts))
        return str(row[0]) if row is not None and row[1] > now_ts else None
