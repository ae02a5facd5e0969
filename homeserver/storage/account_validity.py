"""Until when accounts may be used, as stored rows."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Transaction


@dataclass(frozen=True, slots=True)
class Validity:
    """Times in milliseconds. `sends_mails`: the owner is told before it ends; `mailed_ts`: when that was done."""

    user_id: str
    expires_ts: int
    sends_mails: bool
    mailed_ts: int | None


class AccountValidityStore:
    """The table `account_validity`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_validity(self, user_id: str, reader: Reader | None = None) -> Validity | None:
        row = await (reader or self._db).fetch_one(
            "SELECT user_id, expires_ts, sends_mails, mailed_ts FROM account_validity WHERE user_id = ?", (user_id,)
        )
        return None if row is None else Validity(row[0], row[1], bool(row[2]), row[3])

    async def list_without_end(self, limit: int) -> list[str]:
        """People whose accounts have no end yet: neither guests, nor administrators, nor ghosts of bridges."""
        rows = await self._db.fetch_all(
            "SELECT accounts.user_id FROM accounts "
            "LEFT JOIN account_validity ON account_validity.user_id = accounts.user_id "
            "WHERE account_validity.user_id IS NULL AND is_guest = 0 AND is_admin = 0 AND is_deactivated = 0 "
            "AND appservice_id IS NULL ORDER BY accounts.user_id LIMIT ?",
            (limit,),
        )
        return [row[0] for row in rows]

    async def list_to_mail(self, now_ts: int, until_ts: int, limit: int) -> list[Validity]:
        """Accounts that end between now and `until_ts`, and whose owners have not been told."""
        rows = await self._db.fetch_all(
            "SELECT account_validity.user_id, expires_ts, sends_mails, mailed_ts FROM account_validity "
            "JOIN accounts ON accounts.user_id = account_validity.user_id "
            "WHERE expires_ts > ? AND expires_ts <= ? AND sends_mails = 1 AND mailed_ts IS NULL AND is_deactivated = 0 "
            "ORDER BY expires_ts, account_validity.user_id LIMIT ?",
            (now_ts, until_ts, limit),
        )
        return [Validity(row[0], row[1], bool(row[2]), row[3]) for row in rows]

    async def add_validity(self, txn: Transaction, user_id: str, expires_ts: int) -> None:
        """Unless there is one."""
        await txn.execute(
            "INSERT INTO account_validity (user_id, expires_ts, sends_mails) VALUES (?, ?, 1) "
            "ON CONFLICT (user_id) DO NOTHING",
            (user_id, expires_ts),
        )

    async def set_validity(self, txn: Transaction, user_id: str, expires_ts: int, *, sends_mails: bool) -> None:
        """A new end: links of earlier e-mails are void, and a new one is due in time."""
        await txn.execute(
            "INSERT INTO account_validity (user_id, expires_ts, sends_mails) VALUES (?, ?, ?) "
            "ON CONFLICT (user_id) DO UPDATE SET expires_ts = excluded.expires_ts, "
            "sends_mails = excluded.sends_mails, mailed_ts = NULL, token_hash = NULL",
            (user_id, expires_ts, int(sends_mails)),
        )

    async def set_mailed(self, txn: Transaction, user_id: str, mailed_ts: int, token_hash: str | None) -> None:
        """An e-mail goes out, with a link that has this hash; None: there is no address to send it to."""
        await txn.execute(
            "UPDATE account_validity SET mailed_ts = ?, token_hash = ? WHERE user_id = ?",
            (mailed_ts, token_hash, user_id),
        )

    async def find_by_token(self, token_hash: str, reader: Reader | None = None) -> str | None:
        """Whose account a link would renew."""
        user_id: str | None = await (reader or self._db).fetch_value(
            "SELECT user_id FROM account_validity WHERE token_hash = ?", (token_hash,)
        )
        return user_id
