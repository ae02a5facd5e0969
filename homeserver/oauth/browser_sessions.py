"""People who are logged in on the server's own pages, by the cookie of their browser (`http/browsers.py`).

A session of the pages can do what destroys (end sessions, deactivate, reset cross-signing) only for some minutes after
its owner proved who they are; later they are asked again. It ends with the account, and with every change of its
password.
"""

from __future__ import annotations

from homeserver.clock import Clock
from homeserver.storage.accounts import AccountStore
from homeserver.storage.browser_sessions import BrowserSession, BrowserSessionStore
from homeserver.storage.database import Database, Transaction
from homeserver.users.secret_tokens import hash_of

LIFETIME_MS = 14 * 24 * 3600 * 1000
FRESH_MS = 10 * 60 * 1000
RESET_ALLOWED_MS = 10 * 60 * 1000


class BrowserSessions:
    """Opens, finds and ends them."""

    def __init__(self, db: Database, store: BrowserSessionStore, accounts: AccountStore, clock: Clock) -> None:
        self._db = db
        self._store = store
        self._accounts = accounts
        self._clock = clock

    async def open(
        self, secret: str, user_id: str, *, provider_id: str | None = None, provider_session: str | None = None
    ) -> BrowserSession:
        """The browser with the (new) cookie `secret` is logged in. `provider_id`: by which identity provider, and
        what that calls the session."""
        now = self._clock.now_ms()
        session = BrowserSession(hash_of(secret), user_id, now, now, now + LIFETIME_MS, provider_id, provider_session)

        async def add(txn: Transaction) -> None:
            await self._store.remove_expired_sessions(txn, now)
            await self._store.add_session(txn, session)

        await self._db.write(add)
        return session

    async def find(self, secret: str) -> BrowserSession | None:
        """Who is logged in, unless the session is over or the account may not be used."""
        session = await self._store.find_session(hash_of(secret))
        if session is None or session.expires_ts <= self._clock.now_ms():
            return None
        account = await self._accounts.find_account(session.user_id)
        return None if account is None or account.is_deactivated or account.is_locked else session

    def is_fresh(self, session: BrowserSession) -> bool:
        """Whether the person proved who they are a moment ago."""
        return session.proved_ts + FRESH_MS > self._clock.now_ms()

    async def end(self, secret: str) -> None:
        await self._db.write(lambda txn: self._store.remove_session(txn, hash_of(secret)))

    async def end_all(self, txn: Transaction, user_id: str) -> None:
        """Every browser of the user."""
        await self._store.remove_sessions_of_user(txn, user_id)

    async def allow_cross_signing_reset(self, user_id: str) -> None:
        """The next replacement of the user's cross-signing keys within ten minutes needs no further proof."""
        expires = self._clock.now_ms() + RESET_ALLOWED_MS
        await self._db.write(lambda txn: self._store.allow_cross_signing_reset(txn, user_id, expires))

    async def take_cross_signing_reset(self, user_id: str) -> bool:
        """Whether that was allowed; asking uses it up."""
        return await self._db.write(
            lambda txn: self._store.take_cross_signing_reset(txn, user_id, self._clock.now_ms())
        )
