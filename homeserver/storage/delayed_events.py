"""Events that are sent later: the table `delayed_events` (MSC4140)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from homeserver.storage.database import Database, Reader, Row, Transaction

SCHEDULED: Final = 0
SENDING: Final = 1
DONE: Final = 2


@dataclass(frozen=True, slots=True)
class DelayedEvent:
    """One row. `content` and `error` are JSON text; times are in milliseconds; `state_key` None: a message."""

    delay_id: str
    user_id: str
    device_id: str | None
    room_id: str
    type: str
    state_key: str | None
    content: str
    delay_ms: int
    running_since_ms: int
    due_ms: int
    origin_server_ts: int | None
    sticky_ms: int | None
    transaction_key: str | None
    scheduled_at: int
    status: int = SCHEDULED
    outcome: str | None = None
    reason: str | None = None
    error: str | None = None
    event_id: str | None = None
    done_ms: int | None = None


_COLUMNS: Final = (
    "delay_id, user_id, device_id, room_id, type, state_key, content, delay_ms, running_since_ms, due_ms, "
    "origin_server_ts, sticky_ms, transaction_key, scheduled_at, status, outcome, reason, error, event_id, done_ms"
)


class DelayedEventStore:
    """What is scheduled, and what became of it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_event(self, delay_id: str, reader: Reader | None = None) -> DelayedEvent | None:
        row = await (reader or self._db).fetch_one(
            f"SELECT {_COLUMNS} FROM delayed_events WHERE delay_id = ?", (delay_id,)
        )
        return None if row is None else DelayedEvent(*row)

    async def find_by_transaction(
        self, user_id: str, room_id: str, transaction_key: str, reader: Reader | None = None
    ) -> str | None:
        """The delay id that a repeated request got the first time."""
        found: str | None = await (reader or self._db).fetch_value(
            "SELECT delay_id FROM delayed_events WHERE user_id = ? AND room_id = ? AND transaction_key = ?",
            (user_id, room_id, transaction_key),
        )
        return found

    async def list_of_user(self, user_id: str) -> list[DelayedEvent]:
        """Everything that is kept of a user: the next to be sent first, then what is done, the newest first."""
        rows: list[Row] = await self._db.fetch_all(
            f"SELECT {_COLUMNS} FROM delayed_events WHERE user_id = ? "
            "ORDER BY status, CASE WHEN done_ms IS NULL THEN due_ms ELSE -done_ms END, delay_id",
            (user_id,),
        )
        return [DelayedEvent(*row) for row in rows]

    async def list_waiting(self) -> list[DelayedEvent]:
        """All that is not done."""
        rows = await self._db.fetch_all(f"SELECT {_COLUMNS} FROM delayed_events WHERE status < 2 ORDER BY due_ms")
        return [DelayedEvent(*row) for row in rows]

    async def count_scheduled(self, user_id: str, reader: Reader) -> tuple[int, int]:
        """(how many are scheduled for a user, when the next is due, 0 for none)."""
        row = await reader.fetch_one(
            "SELECT COUNT(*), COALESCE(MIN(due_ms), 0) FROM delayed_events WHERE user_id = ? AND status = 0", (user_id,)
        )
        assert row is not None
        return int(row[0]), int(row[1])

    async def add_event(self, txn: Transaction, event: DelayedEvent) -> None:
        await txn.execute(
            f"INSERT INTO delayed_events ({_COLUMNS}) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                event.delay_id,
                event.user_id,
                event.device_id,
                event.room_id,
                event.type,
                event.state_key,
                event.content,
                event.delay_ms,
                event.running_since_ms,
                event.due_ms,
                event.origin_server_ts,
                event.sticky_ms,
                event.transaction_key,
                event.scheduled_at,
                event.status,
                event.outcome,
                event.reason,
                event.error,
                event.event_id,
                event.done_ms,
            ),
        )

    async def set_running(self, txn: Transaction, delay_id: str, now_ms: int) -> bool:
        """Let a scheduled event wait anew; whether there was one."""
        return bool(
            await txn.execute(
                "UPDATE delayed_events SET running_since_ms = ?, due_ms = CAST(? AS BIGINT) + delay_ms "
                "WHERE delay_id = ? AND status = 0",
                (now_ms, now_ms, delay_id),
            )
        )

    async def set_sending(self, txn: Transaction, delay_id: str) -> bool:
        """Take a scheduled event in hand; whether it was there to be taken."""
        return bool(
            await txn.execute("UPDATE delayed_events SET status = 1 WHERE delay_id = ? AND status = 0", (delay_id,))
        )

    async def set_done(
        self,
        txn: Transaction,
        delay_id: str,
        was: int,
        now_ms: int,
        outcome: str,
        reason: str,
        *,
        error: str | None = None,
        event_id: str | None = None,
    ) -> bool:
        """Say how an event ended that was in status `was`; whether it was."""
        return bool(
            await txn.execute(
                "UPDATE delayed_events SET status = 2, outcome = ?, reason = ?, error = ?, event_id = ?, done_ms = ? "
                "WHERE delay_id = ? AND status = ?",
                (outcome, reason, error, event_id, now_ms, delay_id, was),
            )
        )

    async def remove_of_user(self, txn: Transaction, user_id: str) -> list[tuple[str, str]]:
        """Forget everything of a user; (delay id, room id) of what was scheduled."""
        rows = await txn.fetch_all("SELECT delay_id, room_id FROM delayed_events WHERE user_id = ?", (user_id,))
        await txn.execute("DELETE FROM delayed_events WHERE user_id = ?", (user_id,))
        return [(row[0], row[1]) for row in rows]

    async def remove_done(self, txn: Transaction, user_id: str, before_ms: int, keep: int) -> None:
        """Forget a user's old ends: those of before a time, and all but the newest `keep`."""
        await txn.execute(
            "DELETE FROM delayed_events WHERE user_id = ? AND status = 2 AND (done_ms < ? OR delay_id NOT IN "
            "(SELECT delay_id FROM delayed_events WHERE user_id = ? AND status = 2 "
            "ORDER BY done_ms DESC, delay_id LIMIT ?))",
            (user_id, before_ms, user_id, keep),
        )
