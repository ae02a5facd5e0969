"""People logged in on the server's own pages, as stored rows, and what they allowed there."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Transaction

_COLUMNS = "session_hash, user_id, created_ts, proved_ts, expires_ts, provider_id, provider_session"


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """`proved_ts`: when the person last gave a password or came from a provider; `provider_id` and
    `provider_session`: from which, and what it calls that session. Times in milliseconds."""

    session_hash: str
    user_id: str
    created_ts: int
    proved_ts: int
    expires_ts: int
    provider_id: str | None = None
    provider_session: str | None = None


class BrowserSessionStore:
    """The tables `browser_sessions` and `cross_signing_resets`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add_session(self, txn: Transaction, session: BrowserSession) -> None:
        await txn.execute(
            f"INSERT INTO browser_sessions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                session.session_hash,
                session.user_id,
                session.created_ts,
                session.proved_ts,
                session.expires_ts,
                session.provider_id,
                session.provider_session,
            ),
        )

    async def find_session(self, session_hash: str, reader: Reader | None = None) -> BrowserSession | None:
        row = await (reader or self._db).fetch_one(
            f"SELECT {_COLUMNS} FROM browser_sessions WHERE session_hash = ?", (session_hash,)
        )
        return None if row is None else BrowserSession(*row)

    async def remove_session(self, txn: Transaction, session_hash: str) -> None:
        await txn.execute("DELETE FROM browser_sessions WHERE session_hash = ?", (session_hash,))

    async def remove_sessions_of_user(self, txn: Transaction, user_id: str) -> None:
        await txn.execute("DELETE FROM browser_sessions WHERE user_id = ?", (user_id,))

    async def remove_sessions_of_provider(self, txn: Transaction, provider_id: str, provider_session: str) -> None:
        await txn.execute(
            "DELETE FROM browser_sessions WHERE provider_id = ? AND provider_session = ?",
            (provider_id, provider_session),
        )

    async def remove_expired_sessions(self, txn: Transaction, now_ts: int) -> None:
        await txn.execute("DELETE FROM browser_sessions WHERE expires_ts <= ?", (now_ts,))

    async def allow_cross_signing_reset(self, txn: Transaction, user_id: str, expires_ts: int) -> None:
        await txn.execute(
            "INSERT INTO cross_signing_resets (user_id, expires_ts) VALUES (?, ?) "
            "ON CONFLICT (user_id) DO UPDATE SET expires_ts = excluded.expires_ts",
            (user_id, expires_ts),
        )

    async def take_cross_signing_reset(self, txn: Transaction, user_id: str, now_ts: int) -> bool:
        """Whether it is allowed; once only."""
        expires = await txn.fetch_value("SELECT expires_ts FROM cross_signing_resets WHERE user_id = ?", (user_id,))
        await txn.execute("DELETE FROM cross_signing_resets WHERE user_id = ?", (user_id,))
        return expires is not None and int(expires) > now_ts
