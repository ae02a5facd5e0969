"""Identity providers' accounts, logins on their way to a provider, and sessions that a provider may end, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Transaction

_ATTEMPT = "state_hash, provider_id, browser_hash, nonce, code_verifier, next_page, expires_ts"
_NEWCOMER = (
    "browser_hash, provider_id, issuer, subject, localpart, display_name, email, provider_session, next_page, "
    "expires_ts"
)


@dataclass(frozen=True, slots=True)
class IdentityAttempt:
    """A login that was sent to a provider. `browser_hash`: of the only browser that may bring it back."""

    state_hash: str
    provider_id: str
    browser_hash: str
    nonce: str
    code_verifier: str
    next_page: str
    expires_ts: int


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody whom a provider vouched for and who has no account here yet. `email` was verified by the provider."""

    browser_hash: str
    provider_id: str
    issuer: str
    subject: str
    localpart: str
    display_name: str | None
    email: str | None
    provider_session: str | None
    next_page: str
    expires_ts: int


class IdentityStore:
    """The tables `identities` and `identity_*`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_user(self, issuer: str, subject: str, reader: Reader | None = None) -> str | None:
        found = await (reader or self._db).fetch_value(
            "SELECT user_id FROM identities WHERE issuer = ? AND subject = ?", (issuer, subject)
        )
        return None if found is None else str(found)

    async def list_identities(self, user_id: str, reader: Reader | None = None) -> list[tuple[str, str]]:
        """(issuer, subject) of everything by which a user may log in."""
        rows = await (reader or self._db).fetch_all(
            "SELECT issuer, subject FROM identities WHERE user_id = ? ORDER BY issuer, subject", (user_id,)
        )
        return [(row[0], row[1]) for row in rows]

    async def remove_identity(self, txn: Transaction, issuer: str, subject: str, user_id: str) -> None:
        await txn.execute(
            "DELETE FROM identities WHERE issuer = ? AND subject = ? AND user_id = ?", (issuer, subject, user_id)
        )

    async def has_identity(self, user_id: str) -> bool:
        found = await self._db.fetch_value("SELECT 1 FROM identities WHERE user_id = ? LIMIT 1", (user_id,))
        return found is not None

    async def add_identity(self, txn: Transaction, issuer: str, subject: str, user_id: str, now_ts: int) -> bool:
        """False if somebody has it."""
        added = await txn.execute(
            "INSERT INTO identities (issuer, subject, user_id, created_ts) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (issuer, subject, user_id, now_ts),
        )
        return added == 1

    async def remove_identities_of_user(self, txn: Transaction, user_id: str) -> None:
        await txn.execute("DELETE FROM identities WHERE user_id = ?", (user_id,))

    async def add_attempt(self, txn: Transaction, attempt: IdentityAttempt, now_ts: int) -> None:
        await txn.execute("DELETE FROM identity_attempts WHERE expires_ts <= ?", (now_ts,))
        await txn.execute(
            f"INSERT INTO identity_attempts ({_ATTEMPT}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                attempt.state_hash,
                attempt.provider_id,
                attempt.browser_hash,
                attempt.nonce,
                attempt.code_verifier,
                attempt.next_page,
                attempt.expires_ts,
            ),
        )

    async def take_attempt(self, txn: Transaction, state_hash: str) -> IdentityAttempt | None:
        """The attempt, and it is gone: a state comes back once."""
        row = await txn.fetch_one(f"SELECT {_ATTEMPT} FROM identity_attempts WHERE state_hash = ?", (state_hash,))
        await txn.execute("DELETE FROM identity_attempts WHERE state_hash = ?", (state_hash,))
        return None if row is None else IdentityAttempt(*row)

    async def set_newcomer(self, txn: Transaction, newcomer: Newcomer, now_ts: int) -> None:
        await txn.execute(
            "DELETE FROM identity_newcomers WHERE browser_hash = ? OR expires_ts <= ?", (newcomer.browser_hash, now_ts)
        )
        await txn.execute(
            f"INSERT INTO identity_newcomers ({_NEWCOMER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                newcomer.browser_hash,
                newcomer.provider_id,
                newcomer.issuer,
                newcomer.subject,
                newcomer.localpart,
                newcomer.display_name,
                newcomer.email,
                newcomer.provider_session,
                newcomer.next_page,
                newcomer.expires_ts,
            ),
        )

    async def find_newcomer(self, browser_hash: str, reader: Reader | None = None) -> Newcomer | None:
        row = await (reader or self._db).fetch_one(
            f"SELECT {_NEWCOMER} FROM identity_newcomers WHERE browser_hash = ?", (browser_hash,)
        )
        return None if row is None else Newcomer(*row)

    async def remove_newcomer(self, txn: Transaction, browser_hash: str) -> None:
        await txn.execute("DELETE FROM identity_newcomers WHERE browser_hash = ?", (browser_hash,))

    async def set_session(
        self, txn: Transaction, provider_id: str, provider_session: str, user_id: str, device_id: str
    ) -> None:
        """The device's session began with that session of the provider."""
        await txn.execute(
            "INSERT INTO identity_sessions (provider_id, provider_session, user_id, device_id) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (user_id, device_id) DO UPDATE SET provider_id = excluded.provider_id, "
            "provider_session = excluded.provider_session",
            (provider_id, provider_session, user_id, device_id),
        )

    async def remove_session(self, txn: Transaction, user_id: str, device_id: str) -> None:
        await txn.execute("DELETE FROM identity_sessions WHERE user_id = ? AND device_id = ?", (user_id, device_id))

    async def list_devices(
        self, provider_id: str, provider_session: str | None, user_id: str | None
    ) -> Sequence[tuple[str, str]]:
        """(user id, device id) of what began with a session of the provider, or with any of the user's there."""
        if provider_session is not None:
            rows = await self._db.fetch_all(
                "SELECT user_id, device_id FROM identity_sessions WHERE provider_id = ? AND provider_session = ?",
                (provider_id, provider_session),
            )
        else:
            rows = await self._db.fetch_all(
                "SELECT user_id, device_id FROM identity_sessions WHERE provider_id = ? AND user_id = ?",
                (provider_id, user_id or ""),
            )
        return [(row[0], row[1]) for row in rows]

    async def add_login_token(
        self, txn: Transaction, token_hash: str, browser_hash: str, expires_ts: int, now_ts: int
    ) -> None:
        await txn.execute("DELETE FROM identity_login_tokens WHERE expires_ts <= ?", (now_ts,))
        await txn.execute(
            "INSERT INTO identity_login_tokens (token_hash, browser_hash, expires_ts) VALUES (?, ?, ?)",
            (token_hash, browser_hash, expires_ts),
        )

    async def find_browser_of_login_token(self, token_hash: str) -> str | None:
        found = await self._db.fetch_value(
            "SELECT browser_hash FROM identity_login_tokens WHERE token_hash = ?", (token_hash,)
        )
        return None if found is None else str(found)

    async def use_logout_token(self, txn: Transaction, token_id: str, expires_ts: int, now_ts: int) -> bool:
        """False if the token was obeyed before."""
        await txn.execute("DELETE FROM identity_logouts WHERE expires_ts <= ?", (now_ts,))
        added = await txn.execute(
            "INSERT INTO identity_logouts (token_id, expires_ts) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (token_id, expires_ts),
        )
        return added == 1
