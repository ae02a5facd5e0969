"""Which threads somebody follows: the table `thread_subscriptions` (MSC4306)."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Transaction


@dataclass(frozen=True, slots=True)
class ThreadSubscription:
    """One row. `unsubscribed_at`: the place of the last unsubscription, 0 for none."""

    user_id: str
    room_id: str
    root_id: str
    is_subscribed: bool
    is_automatic: bool
    unsubscribed_at: int
    position: int


_COLUMNS = "user_id, room_id, root_id, is_subscribed, is_automatic, unsubscribed_at, position"


class ThreadSubscriptionStore:
    """Subscriptions by user, and those that were ended."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_subscription(
        self, user_id: str, room_id: str, root_id: str, reader: Reader | None = None
    ) -> ThreadSubscription | None:
        row = await (reader or self._db).fetch_one(
            f"SELECT {_COLUMNS} FROM thread_subscriptions WHERE user_id = ? AND room_id = ? AND root_id = ?",
            (user_id, room_id, root_id),
        )
        return None if row is None else _of(row)

    async def list_of_user(self, user_id: str) -> list[ThreadSubscription]:
        rows = await self._db.fetch_all(f"SELECT {_COLUMNS} FROM thread_subscriptions WHERE user_id = ?", (user_id,))
        return [_of(row) for row in rows]

    async def list_changes(self, user_id: str, after: int, up_to: int, limit: int) -> list[ThreadSubscription]:
        """The newest `limit` changes of (after, up_to], the newest first."""
        rows = await self._db.fetch_all(
            f"SELECT {_COLUMNS} FROM thread_subscriptions WHERE user_id = ? AND position > ? AND position <= ? "
            "ORDER BY position DESC LIMIT ?",
            (user_id, after, up_to, limit),
        )
        return [_of(row) for row in rows]

    async def count(self, user_id: str, reader: Reader) -> int:
        return int(await reader.fetch_value("SELECT COUNT(*) FROM thread_subscriptions WHERE user_id = ?", (user_id,)))

    async def remove_of_user(self, txn: Transaction, user_id: str) -> None:
        await txn.execute("DELETE FROM thread_subscriptions WHERE user_id = ?", (user_id,))

    async def set_subscription(self, txn: Transaction, one: ThreadSubscription) -> None:
        await txn.execute(
            f"INSERT INTO thread_subscriptions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (user_id, room_id, root_id) DO UPDATE SET is_subscribed = excluded.is_subscribed, "
            "is_automatic = excluded.is_automatic, unsubscribed_at = excluded.unsubscribed_at, "
            "position = excluded.position",
            (
                one.user_id,
                one.room_id,
                one.root_id,
                int(one.is_subscribed),
                int(one.is_automatic),
                one.unsubscribed_at,
                one.position,
            ),
        )


def _of(row: tuple[object, ...]) -> ThreadSubscription:
    user_id, room_id, root_id, subscribed, automatic, unsubscribed_at, position = row
    return ThreadSubscription(
        str(user_id),
        str(room_id),
        str(root_id),
        bool(subscribed),
        bool(automatic),
        int(str(unsubscribed_at)),
        int(str(position)),
    )
