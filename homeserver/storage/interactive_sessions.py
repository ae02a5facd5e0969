"""Sessions of user-interactive authentication as stored rows. Nothing that a person typed is kept (F06)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Transaction


@dataclass(frozen=True, slots=True)
class InteractiveSession:
    """`operation` is `METHOD path`; `user_id` and `device_id` are "" where nobody is logged in.

    `completed` maps each finished stage to what it proved (a user id, a registration token, or "").
    `flows` is what was offered. `created_ts` in milliseconds.
    """

    session_hash: str
    user_id: str
    device_id: str
    operation: str
    body_digest: str
    flows: tuple[tuple[str, ...], ...]
    completed: Mapping[str, str]
    created_ts: int


class InteractiveSessionStore:
    """The table `interactive_sessions`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_session(self, session_hash: str, reader: Reader | None = None) -> InteractiveSession | None:
        row = await (reader or self._db).fetch_one(
            "SELECT session_hash, user_id, device_id, operation, body_digest, flows, completed, created_ts "
            "FROM interactive_sessions WHERE session_hash = ?",
            (session_hash,),
        )
        if row is None:
            return None
        session_hash, user_id, device_id, operation, body_digest, flows, completed, created_ts = row
        return InteractiveSession(
            session_hash=session_hash,
            user_id=user_id,
            device_id=device_id,
            operation=operation,
            body_digest=body_digest,
            flows=tuple(tuple(flow) for flow in json.loads(flows)),
            completed=json.loads(completed),
            created_ts=created_ts,
        )

    async def set_session(self, txn: Transaction, session: InteractiveSession) -> None:
        """Add the session or write its new state."""
        await txn.execute(
            "INSERT INTO interactive_sessions "
            "(session_hash, user_id, device_id, operation, body_digest, flows, completed, created_ts) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session_hash) DO UPDATE SET "
            "body_digest = excluded.body_digest, completed = excluded.completed",
            (
                session.session_hash,
                session.user_id,
                session.device_id,
                session.operation,
                session.body_digest,
                json.dumps(session.flows),
                json.dumps(dict(session.completed)),
                session.created_ts,
            ),
        )

    async def remove_session(self, txn: Transaction, session_hash: str) -> bool:
        """False if it was gone: another request used it up."""
        removed = await txn.execute("DELETE FROM interactive_sessions WHERE session_hash = ?", (session_hash,))
        return removed == 1

    async def remove_sessions_before(self, txn: Transaction, created_ts: int) -> None:
        await txn.execute("DELETE FROM interactive_sessions WHERE created_ts < ?", (created_ts,))
