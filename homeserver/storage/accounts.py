"""Accounts as stored rows: who exists, who may act, and the password's hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from homeserver.protocol.errors import NotFound
from homeserver.storage.database import Database, Reader, Row, Transaction

Flag = Literal["is_guest", "is_admin", "is_locked", "is_suspended"]

_COLUMNS = (
    "user_id, password_hash, created_ts, is_guest, is_admin, is_locked, is_suspended, is_deactivated, is_erased, "
    "appservice_id, user_type"
)
_SET_FLAG: dict[Flag, str] = {
    "is_guest": "UPDATE accounts SET is_guest = ? WHERE user_id = ?",
    "is_admin": "UPDATE accounts SET is_admin = ? WHERE user_id = ?",
    "is_locked": "UPDATE accounts SET is_locked = ? WHERE user_id = ?",
    "is_suspended": "UPDATE accounts SET is_suspended = ? WHERE user_id = ?",
}


@dataclass(frozen=True, slots=True)
class Account:
    """One user of this server. `created_ts` in milliseconds; `appservice_id` says who made and owns a ghost."""

    user_id: str
    created_ts: int
    password_hash: str | None = None
    is_guest: bool = False
    is_admin: bool = False
    is_locked: bool = False
    is_suspended: bool = False
    is_deactivated: bool = False
    is_erased: bool = False
    appservice_id: str | None = None
    user_type: str | None = None


class AccountStore:
    """The table `accounts`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_account(self, user_id: str, reader: Reader | None = None) -> Account | None:
        row = await (reader or self._db).fetch_one(
            f"SELECT {_COLUMNS} FROM accounts WHERE user_id = ?",
            (user_id,),
        )
        return None if row is None else _account(row)

    async def get_account(self, user_id: str, reader: Reader | None = None) -> Account:
        account = await self.find_account(user_id, reader)
        if account is None:
            raise NotFound(f"There is no account {user_id} on this server.")
        return account

    async def count_accounts(self) -> int:
        """People and ghosts who can act: neither guests nor deactivated."""
        count = await self._db.fetch_value("SELECT COUNT(*) FROM accounts WHERE is_guest = 0 AND is_deactivated = 0")
        return int(count)

    async def list_user_ids(self, after: str = "", limit: int = 100) -> list[str]:
        """Every user id of this server in order, a page at a time."""
        rows = await self._db.fetch_all(
            "SELECT user_id FROM accounts WHERE user_id > ? ORDER BY user_id LIMIT ?", (after, limit)
        )
        return [row[0] for row in rows]

    async def list_suspended(self) -> list[str]:
        """Users who may say nothing for now."""
        rows = await self._db.fetch_all("SELECT user_id FROM accounts WHERE is_suspended = 1")
        return [row[0] for row in rows]

    async def list_erased(self) -> list[str]:
        """Deactivated users who wished to be erased."""
        rows = await self._db.fetch_all("SELECT user_id FROM accounts WHERE is_erased = 1")
        return [row[0] for row in rows]

    async def add_account(self, txn: Transaction, account: Account) -> bool:
        """False if the user id is taken (also by somebody who was deactivated: names are never given twice)."""
        added = await txn.execute(
            f"INSERT INTO accounts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (user_id) DO NOTHING",
            (
                account.user_id,
                account.password_hash,
                account.created_ts,
                int(account.is_guest),
                int(account.is_admin),
                int(account.is_locked),
                int(account.is_suspended),
                int(account.is_deactivated),
                int(account.is_erased),
                account.appservice_id,
                account.user_type,
            ),
        )
        return added == 1

    async def set_password_hash(self, txn: Transaction, user_id: str, password_hash: str | None) -> None:
        await txn.execute("UPDATE accounts SET password_hash = ? WHERE user_id = ?", (password_hash, user_id))

    async def set_flag(self, txn: Transaction, user_id: str, flag: Flag, value: bool) -> None:
        await txn.execute(_SET_FLAG[flag], (int(value), user_id))

    async def set_user_type(self, txn: Transaction, user_id: str, user_type: str | None) -> None:
        await txn.execute("UPDATE accounts SET user_type = ? WHERE user_id = ?", (user_type, user_id))

    async def set_active(self, txn: Transaction, user_id: str) -> None:
        """The account of somebody who was deactivated can be used again."""
        await txn.execute("UPDATE accounts SET is_deactivated = 0, is_erased = 0 WHERE user_id = ?", (user_id,))

    async def set_deactivated(self, txn: Transaction, user_id: str, *, erase: bool) -> None:
        """For good: the password goes, the row stays so that nobody else gets the name."""
        await txn.execute(
            "UPDATE accounts SET is_deactivated = 1, password_hash = NULL, is_admin = 0, is_erased = ? "
            "WHERE user_id = ?",
            (int(erase), user_id),
        )


def _account(row: Row) -> Account:
    (user_id, password_hash, created_ts, guest, admin, locked, suspended, deactivated, erased, appservice, kind) = row
    return Account(
        user_id=user_id,
        created_ts=created_ts,
        password_hash=password_hash,
        is_guest=bool(guest),
        is_admin=bool(admin),
        is_locked=bool(locked),
        is_suspended=bool(suspended),
        is_deactivated=bool(deactivated),
        is_erased=bool(erased),
        appservice_id=appservice,
        user_type=kind,
    )
