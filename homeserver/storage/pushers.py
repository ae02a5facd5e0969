"""Pushers as stored rows: where a user's notifications go. Spec: Client-Server API, `/pushers/set`."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Transaction

_COLUMNS = (
    "user_id, app_id, pushkey, kind, app_display_name, device_display_name, profile_tag, lang, data, "
    "device_id, position"
)


@dataclass(frozen=True, slots=True)
class Pusher:
    """`data` is a JSON object as text; `device_id` is "" for a pusher set by an application service."""

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


class PusherStore:
    """The table `pushers`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_pushers(self, user_id: str) -> list[Pusher]:
        rows = await self._db.fetch_all(
            f"SELECT {_COLUMNS} FROM pushers WHERE user_id = ? ORDER BY app_id, pushkey",
            (user_id,),
        )
        return [Pusher(*row) for row in rows]

    async def list_all_pushers(self) -> list[Pusher]:
        """Those of everybody, for the sender of notifications when it starts."""
        rows = await self._db.fetch_all(f"SELECT {_COLUMNS} FROM pushers ORDER BY user_id, app_id, pushkey")
        return [Pusher(*row) for row in rows]

    async def set_pusher(self, txn: Transaction, pusher: Pusher) -> None:
        await txn.execute(
            f"INSERT INTO pushers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (user_id, app_id, pushkey) DO UPDATE SET kind = excluded.kind, "
            "app_display_name = excluded.app_display_name, device_display_name = excluded.device_display_name, "
            "profile_tag = excluded.profile_tag, lang = excluded.lang, data = excluded.data, "
            "device_id = excluded.device_id, position = excluded.position",
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
            ),
        )

    async def count_pushers(self, txn: Transaction, user_id: str) -> int:
        return int(await txn.fetch_value("SELECT COUNT(*) FROM pushers WHERE user_id = ?", (user_id,)))

    async def remove_pusher(self, txn: Transaction, user_id: str, app_id: str, pushkey: str) -> None:
        await txn.execute(
            "DELETE FROM pushers WHERE user_id = ? AND app_id = ? AND pushkey = ?", (user_id, app_id, pushkey)
        )

    async def remove_pushers_of_others(self, txn: Transaction, user_id: str, app_id: str, pushkey: str) -> None:
        """Spec: without `append`, pushers with the same app_id and pushkey of other users are removed."""
        await txn.execute(
            "DELETE FROM pushers WHERE user_id <> ? AND app_id = ? AND pushkey = ?", (user_id, app_id, pushkey)
        )

    async def remove_pushers_of_device(self, txn: Transaction, user_id: str, device_id: str) -> None:
        await txn.execute("DELETE FROM pushers WHERE user_id = ? AND device_id = ?", (user_id, device_id))

    async def remove_pushers_of_user(self, txn: Transaction, user_id: str) -> None:
        await txn.execute("DELETE FROM pushers WHERE user_id = ?", (user_id,))
