"""Device lists of users of other servers, as far as this server follows them.

Spec: Server-Server API, "Device Management".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Transaction

_CHUNK = 500
_LIST = (
    "SELECT user_id, stream_id, is_stale, failures, retry_at_ts, master_key, self_signing_key FROM remote_device_lists"
)
_SHARED = (
    "SELECT o.user_id FROM memberships AS o WHERE o.membership = 'join' AND o.room_id IN"
    " (SELECT m.room_id FROM memberships AS m WHERE m.membership = 'join' AND m.user_id LIKE ?)"
)
"""Everybody who is joined to a room where a user of a server (LIKE '%:name') is."""


@dataclass(frozen=True, slots=True)
class RemoteList:
    """One user's list but for the devices. `stream_id` -1: nothing has been fetched yet. Keys are JSON."""

    user_id: str
    stream_id: int = -1
    is_stale: bool = True
    failures: int = 0
    retry_at_ts: int = 0
    master_key: str | None = None
    self_signing_key: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteDevice:
    """A device that has published keys (JSON)."""

    user_id: str
    device_id: str
    keys: str
    display_name: str | None


class RemoteDeviceStore:
    """The tables `remote_device_lists` and `remote_devices`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_list(self, user_id: str, reader: Reader | None = None) -> RemoteList | None:
        row = await (reader or self._db).fetch_one(f"{_LIST} WHERE user_id = ?", (user_id,))
        return None if row is None else _list(row)

    async def list_lists(self, user_ids: Sequence[str]) -> dict[str, RemoteList]:
        """Of those users who are followed, by user."""
        found: dict[str, RemoteList] = {}
        for start in range(0, len(user_ids), _CHUNK):
            part = user_ids[start : start + _CHUNK]
            rows = await self._db.fetch_all(f"{_LIST} WHERE user_id IN ({', '.join('?' * len(part))})", part)
            found.update((row[0], _list(row)) for row in rows)
        return found

    async def list_stale(self) -> list[RemoteList]:
        """All that are to be asked for anew."""
        return [_list(row) for row in await self._db.fetch_all(f"{_LIST} WHERE is_stale = 1")]

    async def list_devices(self, user_ids: Sequence[str], reader: Reader | None = None) -> list[RemoteDevice]:
        found: list[RemoteDevice] = []
        for start in range(0, len(user_ids), _CHUNK):
            part = user_ids[start : start + _CHUNK]
            rows = await (reader or self._db).fetch_all(
                "SELECT user_id, device_id, keys, display_name FROM remote_devices"
                f" WHERE user_id IN ({', '.join('?' * len(part))}) ORDER BY user_id, device_id",
                part,
            )
            found += [RemoteDevice(*row) for row in rows]
        return found

    async def measure(self, user_id: str, reader: Reader, *, but: str = "") -> tuple[int, int]:
        """(how many devices of a user are kept, how long their keys are together), `but` one of them."""
        row = await reader.fetch_one(
            "SELECT COUNT(*), COALESCE(SUM(LENGTH(keys)), 0) FROM remote_devices WHERE user_id = ? AND device_id <> ?",
            (user_id, but),
        )
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    async def set_list(self, txn: Transaction, known: RemoteList) -> None:
        await txn.execute(
            "INSERT INTO remote_device_lists"
            " (user_id, stream_id, is_stale, failures, retry_at_ts, master_key, self_signing_key)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id) DO UPDATE SET stream_id = excluded.stream_id,"
            " is_stale = excluded.is_stale, failures = excluded.failures, retry_at_ts = excluded.retry_at_ts,"
            " master_key = excluded.master_key, self_signing_key = excluded.self_signing_key",
            (
                known.user_id,
                known.stream_id,
                int(known.is_stale),
                known.failures,
                known.retry_at_ts,
                known.master_key,
                known.self_signing_key,
            ),
        )

    async def set_device(self, txn: Transaction, device: RemoteDevice) -> None:
        await txn.execute(
            "INSERT INTO remote_devices (user_id, device_id, keys, display_name) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (user_id, device_id) DO UPDATE SET keys = excluded.keys,"
            " display_name = excluded.display_name",
            (device.user_id, device.device_id, device.keys, device.display_name),
        )

    async def remove_device(self, txn: Transaction, user_id: str, device_id: str) -> None:
        await txn.execute("DELETE FROM remote_devices WHERE user_id = ? AND device_id = ?", (user_id, device_id))

    async def set_devices(self, txn: Transaction, user_id: str, devices: Iterable[RemoteDevice]) -> None:
        """These are all."""
        await txn.execute("DELETE FROM remote_devices WHERE user_id = ?", (user_id,))
        for device in devices:
            await self.set_device(txn, device)

    async def remove_lists(self, txn: Transaction, user_ids: Iterable[str]) -> None:
        """Follow these users no longer."""
        for user_id in user_ids:
            await txn.execute("DELETE FROM remote_devices WHERE user_id = ?", (user_id,))
            await txn.execute("DELETE FROM remote_device_lists WHERE user_id = ?", (user_id,))

    async def list_sharing_any(self, server_name: str, user_ids: Sequence[str]) -> set[str]:
        """Those of the users who are in a room with any user of `server_name`."""
        found: set[str] = set()
        for start in range(0, len(user_ids), _CHUNK):
            part = user_ids[start : start + _CHUNK]
            rows = await self._db.fetch_all(
                f"{_SHARED} AND o.user_id IN ({', '.join('?' * len(part))})", (f"%:{server_name}", *part)
            )
            found.update(row[0] for row in rows)
        return found

    async def list_unshared(self, server_name: str) -> list[str]:
        """Who is followed, and is in no room with any user of `server_name`."""
        rows = await self._db.fetch_all(
            f"SELECT user_id FROM remote_device_lists WHERE user_id NOT IN ({_SHARED})", (f"%:{server_name}",)
        )
        return [row[0] for row in rows]

    async def list_followed_where_left(self, user_id: str, since: int) -> list[str]:
        """Who is followed, of the rooms that `user_id` left at a position or later."""
        rows = await self._db.fetch_all(
            "SELECT DISTINCT l.user_id FROM memberships AS u JOIN memberships AS m ON m.room_id = u.room_id"
            " JOIN remote_device_lists AS l ON l.user_id = m.user_id"
            " WHERE u.user_id = ? AND u.membership <> 'join' AND u.position >= ?",
            (user_id, since),
        )
        return [row[0] for row in rows]

    async def has_lists(self) -> bool:
        """Whether anybody is followed."""
        return await self._db.fetch_value("SELECT 1 FROM remote_device_lists LIMIT 1") is not None


def _list(row: tuple[object, ...]) -> RemoteList:
    user_id, stream_id, is_stale, failures, retry_at_ts, master_key, self_signing_key = row
    return RemoteList(user_id, stream_id, bool(is_stale), failures, retry_at_ts, master_key, self_signing_key)  # type: ignore[arg-type]
