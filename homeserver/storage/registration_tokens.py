"""Registration tokens (m.login.registration_token) as stored rows."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class RegistrationToken:
    """`uses_allowed` None: without limit. `expires_ts` in milliseconds, None: never."""

    token: str
    uses_allowed: int | None = None
    completed: int = 0
    expires_ts: int | None = None

    def is_valid(self, now_ts: int) -> bool:
        """Whether it could be used now."""
        is_expired = self.expires_ts is not None and self.expires_ts <= now_ts
        return not is_expired and (self.uses_allowed is None or self.completed < self.uses_allowed)


class RegistrationTokenStore:
    """The table `registration_tokens`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_token(self, token: str) -> RegistrationToken | None:
        row = await self._db.fetch_one(
            "SELECT token, uses_allowed, completed, expires_ts FROM registration_tokens WHERE token = ?", (token,)
        )
        return None if row is None else RegistrationToken(*row)

    async def list_tokens(self) -> list[RegistrationToken]:
        rows = await self._db.fetch_all(
            "SELECT token, uses_allowed, completed, expires_ts FROM registration_tokens ORDER BY token"
        )
        return [RegistrationToken(*row) for row in rows]

    async def add_token(self, txn: Transaction, token: RegistrationToken) -> bool:
        """False if that token exists already."""
        added = await txn.execute(
            "INSERT INTO registration_tokens (token, uses_allowed, completed, expires_ts) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (token) DO NOTHING",
            (token.token, token.uses_allowed, token.completed, token.expires_ts),
        )
        return added == 1

    async def remove_token(self, txn: Transaction, token: str) -> bool:
        return await txn.execute("DELETE FROM registration_tokens WHERE token = ?", (token,)) == 1

    async def set_limits(self, txn: Transaction, token: str, uses_allowed: int | None, expires_ts: int | None) -> bool:
        """False when there is no such token."""
        changed = await txn.execute(
            "UPDATE registration_tokens SET uses_allowed = ?, expires_ts = ? WHERE token = ?",
            (uses_allowed, expires_ts, token),
        )
        return changed == 1

    async def use_token(self, txn: Transaction, token: str, now_ts: int) -> bool:
        """Count one use, in the transaction that makes the account; False if it is unknown, used up or expired."""
        used = await txn.execute(
            "UPDATE registration_tokens SET completed = completed + 1 WHERE token = ? "
            "AND (uses_allowed IS NULL OR completed < uses_allowed) AND (expires_ts IS NULL OR expires_ts > ?)",
            (token, now_ts),
        )
        return used == 1
