"""What people granted to OAuth clients, as stored rows: codes on their way, device codes, and the sessions made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Row, Transaction

_CODE = (
    "code_hash, client_id, user_id, device_id, scope, redirect_uri, code_challenge, browser_hash, expires_ts, is_used"
)
_DEVICE_CODE = (
    "code_hash, user_code_hash, client_id, device_id, scope, expires_ts, polled_ts, interval_ms, state, user_id, "
    "browser_hash"
)
_SESSION = "user_id, device_id, client_id, scope, code_hash, created_ts"


@dataclass(frozen=True, slots=True)
class AuthorizationCode:
    """A code of the authorization code grant. `browser_hash`: the browser session that granted it. Times in ms."""

    code_hash: str
    client_id: str
    user_id: str
    device_id: str
    scope: str
    redirect_uri: str
    code_challenge: str
    browser_hash: str
    expires_ts: int
    is_used: bool = False


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A code of the device grant. `state`: pending, approved, denied or used. Times in milliseconds."""

    code_hash: str
    user_code_hash: str
    client_id: str
    device_id: str
    scope: str
    expires_ts: int
    polled_ts: int
    interval_ms: int
    state: str = "pending"
    user_id: str | None = None
    browser_hash: str | None = None


@dataclass(frozen=True, slots=True)
class OAuthSession:
    """A device whose tokens came by OAuth."""

    user_id: str
    device_id: str
    client_id: str
    scope: str
    code_hash: str | None
    created_ts: int


class OAuthGrantStore:
    """The tables `oauth_codes`, `oauth_device_codes` and `oauth_sessions`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add_code(self, txn: Transaction, code: AuthorizationCode) -> None:
        await txn.execute(
            f"INSERT INTO oauth_codes ({_CODE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                code.code_hash,
                code.client_id,
                code.user_id,
                code.device_id,
                code.scope,
                code.redirect_uri,
                code.code_challenge,
                code.browser_hash,
                code.expires_ts,
                int(code.is_used),
            ),
        )

    async def find_code(self, code_hash: str, reader: Reader | None = None) -> AuthorizationCode | None:
        row = await (reader or self._db).fetch_one(f"SELECT {_CODE} FROM oauth_codes WHERE code_hash = ?", (code_hash,))
        if row is None:
            return None
        values = [*row[:-1], bool(row[-1])]
        return AuthorizationCode(*values)

    async def use_code(self, txn: Transaction, code_hash: str) -> bool:
        """False if somebody was faster."""
        used = await txn.execute("UPDATE oauth_codes SET is_used = 1 WHERE code_hash = ? AND is_used = 0", (code_hash,))
        return used == 1

    async def remove_old_codes(self, txn: Transaction, now_ts: int, used_before_ts: int) -> None:
        """Codes that expired and were not used; used ones stay longer, to know them when they come again."""
        await txn.execute(
            "DELETE FROM oauth_codes WHERE (is_used = 0 AND expires_ts < ?) OR expires_ts < ?",
            (now_ts, used_before_ts),
        )
        await txn.execute("DELETE FROM oauth_device_codes WHERE expires_ts < ?", (used_before_ts,))

    async def add_device_code(self, txn: Transaction, code: DeviceCode) -> bool:
        """False if the user code is taken."""
        added = await txn.execute(
            f"INSERT INTO oauth_device_codes ({_DEVICE_CODE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (
                code.code_hash,
                code.user_code_hash,
                code.client_id,
                code.device_id,
                code.scope,
                code.expires_ts,
                code.polled_ts,
                code.interval_ms,
                code.state,
                code.user_id,
                code.browser_hash,
            ),
        )
        return added == 1

    async def find_device_code(self, code_hash: str, reader: Reader | None = None) -> DeviceCode | None:
        row = await (reader or self._db).fetch_one(
            f"SELECT {_DEVICE_CODE} FROM oauth_device_codes WHERE code_hash = ?", (code_hash,)
        )
        return None if row is None else DeviceCode(*row)

    async def find_device_code_by_user_code(
        self, user_code_hash: str, reader: Reader | None = None
    ) -> DeviceCode | None:
        row = await (reader or self._db).fetch_one(
            f"SELECT {_DEVICE_CODE} FROM oauth_device_codes WHERE user_code_hash = ?", (user_code_hash,)
        )
        return None if row is None else DeviceCode(*row)

    async def set_polled(self, txn: Transaction, code_hash: str, now_ts: int, interval_ms: int) -> None:
        await txn.execute(
            "UPDATE oauth_device_codes SET polled_ts = ?, interval_ms = ? WHERE code_hash = ?",
            (now_ts, interval_ms, code_hash),
        )

    async def decide_device_code(
        self, txn: Transaction, code_hash: str, state: str, user_id: str, browser_hash: str
    ) -> bool:
        """A person said yes or no; False if it was decided before."""
        decided = await txn.execute(
            "UPDATE oauth_device_codes SET state = ?, user_id = ?, browser_hash = ? "
            "WHERE code_hash = ? AND state = 'pending'",
            (state, user_id, browser_hash, code_hash),
        )
        return decided == 1

    async def use_device_code(self, txn: Transaction, code_hash: str) -> bool:
        """False if somebody was faster."""
        used = await txn.execute(
            "UPDATE oauth_device_codes SET state = 'used' WHERE code_hash = ? AND state = 'approved'", (code_hash,)
        )
        return used == 1

    async def set_session(self, txn: Transaction, session: OAuthSession) -> None:
        await txn.execute(
            f"INSERT INTO oauth_sessions ({_SESSION}) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (user_id, device_id) DO UPDATE SET client_id = excluded.client_id, scope = excluded.scope, "
            "code_hash = excluded.code_hash, created_ts = excluded.created_ts",
            (
                session.user_id,
                session.device_id,
                session.client_id,
                session.scope,
                session.code_hash,
                session.created_ts,
            ),
        )

    async def find_session(self, user_id: str, device_id: str, reader: Reader | None = None) -> OAuthSession | None:
        row = await (reader or self._db).fetch_one(
            f"SELECT {_SESSION} FROM oauth_sessions WHERE user_id = ? AND device_id = ?", (user_id, device_id)
        )
        return None if row is None else _session(row)

    async def list_sessions(self, user_id: str, reader: Reader | None = None) -> Sequence[OAuthSession]:
        rows = await (reader or self._db).fetch_all(
            f"SELECT {_SESSION} FROM oauth_sessions WHERE user_id = ? ORDER BY created_ts, device_id", (user_id,)
        )
        return [_session(row) for row in rows]

    async def remove_session(self, txn: Transaction, user_id: str, device_id: str) -> None:
        await txn.execute("DELETE FROM oauth_sessions WHERE user_id = ? AND device_id = ?", (user_id, device_id))


def _session(row: Row) -> OAuthSession:
    return OAuthSession(*row)
