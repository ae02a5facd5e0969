"""Tokens by which administrators act as users, as stored rows. Only their hashes are kept."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class OperatorLogin:
    """`admin_id` acts as `user_id` until `expires_ts` (milliseconds)."""

    token_hash: str
    user_id: str
    admin_id: str
    created_ts: int
    expires_ts: int


class OperatorLoginStore:
    """The table `operator_logins`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_login(self, token_hash: str) -> OperatorLogin | None:
        row = await self._db.fetch_one(
            "SELECT token_hash, user_id, admin_id, created_ts, expires_ts FROM operator_logins WHERE token_hash = ?",
            (token_hash,),
        )
        return None if row is None else OperatorLogin(*row)

    async def add_login(self, txn: Transaction, login: OperatorLogin) -> None:
        await txn.execute(
            "INSERT INTO operator_logins (token_hash, user_id, admin_id, created_ts, expires_ts)"
            " VALUES (?, ?, ?, ?, ?)",
            (login.token_hash, login.user_id, login.admin_id, login.created_ts, login.expires_ts),
        )

    async def remove_logins(self, txn: Transaction, user_id: str, admin_id: str) -> None:
        """Everything that this administrator opened as this user."""
        await txn.execute("DELETE FROM operator_logins WHERE user_id = ? AND admin_id = ?", (user_id, admin_id))

    async def remove_logins_of_admin(self, txn: Transaction, admin_id: str) -> list[str]:
        """Everything an administrator opened; as whom."""
        rows = await txn.fetch_all("SELECT DISTINCT user_id FROM operator_logins WHERE admin_id = ?", (admin_id,))
        await txn.execute("DELETE FROM operator_logins WHERE admin_id = ?", (admin_id,))
        return [row[0] for row in rows]

    async def remove_expired(self, txn: Transaction, now_ts: int) -> None:
        await txn.execute("DELETE FROM operator_logins WHERE expires_ts <= ?", (now_ts,))
