"""Pushers as stored rows: where a user's notifications go. Spec: Client-Server API, `/pushers/set`.

With a pusher goes what waits for it (`storage/push_queue.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from homeserver.storage.database import Database, Reader, Row, Transaction

_COLUMNS = (
    "user_id, app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang, data, "
    "device_id, position, updated_ts, enabled"
)
_KEY = "user_id = ? AND app_id = ? AND pushkey = ?"


@dataclass(frozen=True, slots=True)
class Pusher:
    """`data` is a JSON object as text; `device_id` is "" for e-mails, and for pushers of application services.
    `position`: where in the stream it was made; `updated_ts`: when it was last set, in milliseconds."""

    user_id: str
    app_id: str
    pushkey: str
    kind: str
    app_display_name: str
    device_display_name: str
    profile_tag: str
    lang: str
    data: str
    device_id: str
    position: int
    updated_ts: int = 0
    enabled: bool = True


class PusherStore:
    """The table `pushers`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_pushers(self, user_id: str) -> list[Pusher]:
        rows = await self._db.fetch_all(
            f"SELECT {_COLUMNS} FROM pushers WHERE user_id = ? ORDER BY app_id, pushkey",
            (user_id,),
        )
        return [_pusher(row) for row in rows]

    async def list_all_pushers(self) -> list[Pusher]:
        """Those of everybody, for the sender of notifications when it starts."""
        rows = await self._db.fetch_all(f"SELECT {_COLUMNS} FROM pushers ORDER BY user_id, app_id, pushkey")
        return [_pusher(row) for row in rows]

    async def find_pusher(self, reader: Reader, user_id: str, app_id: str, pushkey: str) -> Pusher | None:
        row = await reader.fetch_one(f"SELECT {_COLUMNS} FROM pushers WHERE {_KEY}", (user_id, app_id, pushkey))
        return None if row is None else _pusher(row)

    async def set_pusher(self, txn: Transaction, pusher: Pusher) -> None:
        await txn.execute(
            f"INSERT INTO pushers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (user_id, app_id, pushkey) DO UPDATE SET kind = excluded.kind, "
            "app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name, "
            "profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data, "
            "device_id = excluded.device_id, position = excluded.position, updated_ts = excluded.updated_ts, "
            "enabled = excluded.enabled",
            (
                pusher.user_id,
                pusher.app_id,
                pusher.pushkey,
                pusher.kind,
                pusher.app_display_name,
                pusher.device_display_name,
                pusher.profile_tag,
                pusher.lang,
                pusher.data,
                pusher.device_id,
                pusher.position,
                pusher.updated_ts,
                int(pusher.enabled),
            ),
        )

    async def count_pushers(self, txn: Transaction, user_id: str) -> int:
        return int(await txn.fetch_value("SELECT COUNT(*) FROM pushers WHERE user_id = ?", (user_id,)))

    async def remove_pusher(self, txn: Transaction, user_id: str, app_id: str, pushkey: str) -> bool:
        """With what waits for it. Whether it was there."""
        removed = await txn.execute(f"DELETE FROM pushers WHERE {_KEY}", (user_id, app_id, pushkey))
        if removed:
            await txn.execute(f"DELETE FROM push_queue WHERE {_KEY}", (user_id, app_id, pushkey))
            await txn.execute(f"DELETE FROM push_progress WHERE {_KEY}", (user_id, app_id, pushkey))
        return bool(removed)

    async def forget_failures(self, txn: Transaction, user_id: str, app_id: str, pushkey: str) -> None:
        """It goes somewhere else now: it need not wait any more."""
        await txn.execute(
            f"UPDATE push_progress SET failures = 0, next_try_ts = 0 WHERE {_KEY}", (user_id, app_id, pushkey)
        )

    async def remove_pushers_of_others(self, txn: Transaction, user_id: str, app_id: str, pushkey: str) -> list[str]:
        """Spec: without `append`, pushers of other users with the same app_id and pushkey are removed. Whose they
        were."""
        rows = await txn.fetch_all(
            "SELECT user_id FROM pushers WHERE user_id <> ? AND app_id = ? AND pushkey = ?", (user_id, app_id, pushkey)
        )
        for (other,) in rows:
            await self.remove_pusher(txn, other, app_id, pushkey)
        return [row[0] for row in rows]

    async def remove_pushers_of_device(self, txn: Transaction, user_id: str, device_id: str) -> None:
        rows = await txn.fetch_all(
            "SELECT app_id, pushkey FROM pushers WHERE user_id = ? AND device_id = ?", (user_id, device_id)
        )
        for app_id, pushkey in rows:
            await self.remove_pusher(txn, user_id, app_id, pushkey)

    async def remove_pushers_of_user(self, txn: Transaction, user_id: str) -> None:
        rows = await txn.fetch_all("SELECT app_id, pushkey FROM pushers WHERE user_id = ?", (user_id,))
        for app_id, pushkey in rows:
            await self.remove_pusher(txn, user_id, app_id, pushkey)


def _pusher(row: Row) -> Pusher:
    pusher = Pusher(*row)
    return replace(pusher, enabled=bool(pusher.enabled))
