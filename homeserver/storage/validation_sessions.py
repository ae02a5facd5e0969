"""Sessions in which an address is shown to be somebody's, as stored rows: hashes of what proves, never the proof."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Row, Transaction

_COLUMNS = "sid, purpose, medium, address, secret_hash, send_attempt, token_hash, next_link, sent_ts, validated_ts"


@dataclass(frozen=True, slots=True)
class ValidationSession:
    """`purpose`: what the session may be used for, and for nothing else (F03). Times in milliseconds."""

    sid: str
    purpose: str
    medium: str
    address: str
    secret_hash: str
    send_attempt: int
    token_hash: str | None
    next_link: str | None
    sent_ts: int
    validated_ts: int | None = None


class ValidationSessionStore:
    """The table `validation_sessions`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_session(self, sid: str, reader: Reader | None = None) -> ValidationSession | None:
        row = await (reader or self._db).fetch_one(f"SELECT {_COLUMNS} FROM validation_sessions WHERE sid = ?", (sid,))
        return _session(row)

    async def find_wanted(
        self, txn: Transaction, purpose: str, medium: str, address: str, secret_hash: str
    ) -> ValidationSession | None:
        """The session that the same client already has for this address and purpose."""
        row = await txn.fetch_one(
            f"SELECT {_COLUMNS} FROM validation_sessions "
            "WHERE purpose = ? AND medium = ? AND address = ? AND secret_hash = ?",
            (purpose, medium, address, secret_hash),
        )
        return _session(row)

    async def set_session(self, txn: Transaction, session: ValidationSession) -> None:
        """Add the session or write its new state."""
        await txn.execute(
            f"INSERT INTO validation_sessions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (sid) DO UPDATE SET send_attempt = excluded.send_attempt, "
            "token_hash = excluded.token_hash, next_link = excluded.next_link, sent_ts = excluded.sent_ts, "
            "validated_ts = excluded.validated_ts",
            (
                session.sid,
                session.purpose,
                session.medium,
                session.address,
                session.secret_hash,
                session.send_attempt,
                session.token_hash,
                session.next_link,
                session.sent_ts,
                session.validated_ts,
            ),
        )

    async def set_validated(self, txn: Transaction, sid: str, token_hash: str, validated_ts: int) -> bool:
        """Spend the code; False if it is not this session's, or was spent by another request."""
        changed = await txn.execute(
            "UPDATE validation_sessions SET validated_ts = ?, token_hash = NULL WHERE sid = ? AND token_hash = ?",
            (validated_ts, sid, token_hash),
        )
        return changed == 1

    async def remove_session(self, txn: Transaction, sid: str) -> bool:
        """False if it was gone: another request used it up."""
        return await txn.execute("DELETE FROM validation_sessions WHERE sid = ?", (sid,)) == 1

    async def remove_sessions_before(self, txn: Transaction, sent_ts: int) -> None:
        await txn.execute("DELETE FROM validation_sessions WHERE sent_ts < ?", (sent_ts,))

    async def remove_sessions_of_address(self, txn: Transaction, purpose: str, medium: str, address: str) -> None:
        await txn.execute(
            "DELETE FROM validation_sessions WHERE purpose = ? AND medium = ? AND address = ?",
            (purpose, medium, address),
        )


def _session(row: Row | None) -> ValidationSession | None:
    return None if row is None else ValidationSession(*row)
