"""Notifications that wait for their pushers, how far the stream was read for them, and how each pusher fares.

What a message says is not kept here: only which event it was, so that a redaction finds nothing to redact (G04).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from homeserver.storage.database import Database, Transaction

_PLACE = "events"
_PROGRESS = "failures, next_try_ts, badge, sent_ts, pause_ms"
_OF_KEY = "user_id = ? AND app_id = ? AND pushkey = ?"


class PusherKey(NamedTuple):
    """Which pusher."""

    user_id: str
    app_id: str
    pushkey: str


@dataclass(frozen=True, slots=True)
class QueuedPush:
    """One notification for one pusher. `position`: of the event in the stream; `event_id` is "" where only the number
    of unread events changed; `actions`: those of the rule, as JSON; `queued_ts` in milliseconds."""

    position: int
    room_id: str
    event_id: str
    actions: str
    queued_ts: int


@dataclass(frozen=True, slots=True)
class PushProgress:
    """How a pusher fares. `failures`: in a row; `next_try_ts`: not before then (milliseconds); `badge`: the number of
    unread events it was told last; `sent_ts`: when something was last delivered; `pause_ms`: between two e-mails."""

    failures: int = 0
    next_try_ts: int = 0
    badge: int | None = None
    sent_ts: int = 0
    pause_ms: int = 0


class PushQueue:
    """The tables `push_place`, `push_queue` and `push_progress`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_place(self) -> int | None:
        """Up to where the stream was read; None: never yet."""
        found: int | None = await self._db.fetch_value("SELECT position FROM push_place WHERE name = ?", (_PLACE,))
        return found

    async def start_at(self, txn: Transaction, position: int) -> None:
        """The first place, unless there is one."""
        await txn.execute(
            "INSERT INTO push_place (name, position) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (_PLACE, position)
        )

    async def move_place(self, txn: Transaction, old: int, new: int) -> bool:
        """False when it is no longer at `old`: somebody else has read on."""
        sql = "UPDATE push_place SET position = ? WHERE name = ? AND position = ?"
        return bool(await txn.execute(sql, (new, _PLACE, old)))

    async def add_pushes(self, txn: Transaction, rows: Iterable[tuple[PusherKey, QueuedPush]]) -> None:
        await txn.execute_many(
            "INSERT INTO push_queue (user_id, app_id, pushkey, position, room_id, event_id, actions, queued_ts)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, app_id, pushkey, position) DO NOTHING",
            [(*key, push.position, push.room_id, push.event_id, push.actions, push.queued_ts) for key, push in rows],
        )

    async def list_pushes(self, key: PusherKey, limit: int) -> list[QueuedPush]:
        """What waits for a pusher, the oldest first."""
        rows = await self._db.fetch_all(
            f"SELECT position, room_id, event_id, actions, queued_ts FROM push_queue WHERE {_OF_KEY}"
            " ORDER BY position LIMIT ?",
            (*key, limit),
        )
        return [QueuedPush(*row) for row in rows]

    async def list_waiting(self) -> list[PusherKey]:
        """The pushers that something waits for."""
        rows = await self._db.fetch_all("SELECT DISTINCT user_id, app_id, pushkey FROM push_queue")
        return [PusherKey(*row) for row in rows]

    async def count_pushes(self) -> int:
        return int(await self._db.fetch_value("SELECT COUNT(*) FROM push_queue"))

    async def remove_pushes(self, txn: Transaction, key: PusherKey, positions: Sequence[int]) -> None:
        sql = f"DELETE FROM push_queue WHERE {_OF_KEY} AND position = ?"
        await txn.execute_many(sql, [(*key, position) for position in positions])

    async def remove_all_pushes(self, txn: Transaction, key: PusherKey) -> None:
        await txn.execute(f"DELETE FROM push_queue WHERE {_OF_KEY}", key)

    async def trim(self, txn: Transaction, key: PusherKey, *, before_ts: int, newest: int) -> int:
        """Drop what was queued before a time, and all but the newest; how many went."""
        old = await txn.execute(f"DELETE FROM push_queue WHERE {_OF_KEY} AND queued_ts < ?", (*key, before_ts))
        floor = await txn.fetch_value(
            f"SELECT position FROM push_queue WHERE {_OF_KEY} ORDER BY position DESC LIMIT 1 OFFSET ?",
            (*key, newest - 1),
        )
        if floor is None:
            return old
        return old + await txn.execute(f"DELETE FROM push_queue WHERE {_OF_KEY} AND position < ?", (*key, floor))

    async def find_progress(self, key: PusherKey) -> PushProgress:
        row = await self._db.fetch_one(f"SELECT {_PROGRESS} FROM push_progress WHERE {_OF_KEY}", key)
        return PushProgress() if row is None else PushProgress(*row)

    async def set_progress(self, txn: Transaction, key: PusherKey, progress: PushProgress) -> None:
        await txn.execute(
            f"INSERT INTO push_progress (user_id, app_id, pushkey, {_PROGRESS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (user_id, app_id, pushkey) DO UPDATE SET failures = excluded.failures,"
            " next_try_ts = excluded.next_try_ts, badge = excluded.badge, sent_ts = excluded.sent_ts,"
            " pause_ms = excluded.pause_ms",
            (
                *key,
                progress.failures,
                progress.next_try_ts,
                progress.badge,
                progress.sent_ts,
                progress.pause_ms,
            ),
        )

    async def remove_progress(self, txn: Transaction, key: PusherKey) -> None:
        await txn.execute(f"DELETE FROM push_progress WHERE {_OF_KEY}", key)

    async def has_session(self, user_id: str, device_id: str, now_ts: int) -> bool:
        """Whether a device is still logged in: it has a token that opens the door, or one that gets it another."""
        found = await self._db.fetch_value(
            "SELECT 1 FROM access_tokens WHERE user_id = ? AND device_id = ? AND (expires_ts IS NULL OR expires_ts > ?)"
            " UNION SELECT 1 FROM refresh_tokens WHERE user_id = ? AND device_id = ? AND is_spent = 0"
            " AND (expires_ts IS NULL OR expires_ts > ?)",
            (user_id, device_id, now_ts, user_id, device_id, now_ts),
        )
        return found is not None
