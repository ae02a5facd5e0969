"""Backups of room keys, encrypted by clients. Spec: Client-Server API, "Server-side key backups"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from homeserver.storage.database import Database, Reader, Row, Transaction

_BACKUP = "version, algorithm, auth_data, etag, key_count, is_deleted"
_KEY = "room_id, session_id, is_verified, first_message_index, forwarded_count, session_data"
_CHUNK = 500


class KeyBackup(NamedTuple):
    """One version. `auth_data` is JSON as text; `etag` counts the changes."""

    version: int
    algorithm: str
    auth_data: str
    etag: int
    key_count: int
    is_deleted: bool


class BackedUpKey(NamedTuple):
    """One session. `session_data` is JSON as text."""

    room_id: str
    session_id: str
    is_verified: bool
    first_message_index: int
    forwarded_count: int
    session_data: str


class KeyBackupStore:
    """The tables `key_backups` and `backed_up_keys`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_backup(self, user_id: str, version: int, reader: Reader | None = None) -> KeyBackup | None:
        """Also a deleted one."""
        row = await (reader or self._db).fetch_one(
            f"SELECT {_BACKUP} FROM key_backups WHERE user_id = ? AND version = ?", (user_id, version)
        )
        return None if row is None else _backup(row)

    async def find_current_backup(self, user_id: str, reader: Reader | None = None) -> KeyBackup | None:
        """The newest that is not deleted."""
        row = await (reader or self._db).fetch_one(
            f"SELECT {_BACKUP} FROM key_backups WHERE user_id = ? AND is_deleted = 0 ORDER BY version DESC LIMIT 1",
            (user_id,),
        )
        return None if row is None else _backup(row)

    async def list_versions(self, user_id: str, reader: Reader | None = None) -> list[int]:
        """Those that are not deleted, the oldest first."""
        rows = await (reader or self._db).fetch_all(
            "SELECT version FROM key_backups WHERE user_id = ? AND is_deleted = 0 ORDER BY version", (user_id,)
        )
        return [row[0] for row in rows]

    async def add_backup(self, txn: Transaction, user_id: str, algorithm: str, auth_data: str) -> int:
        """The number of the new version."""
        newest = await txn.fetch_value("SELECT MAX(version) FROM key_backups WHERE user_id = ?", (user_id,))
        version = int(newest or 0) + 1
        await txn.execute(
            f"INSERT INTO key_backups (user_id, {_BACKUP}) VALUES (?, ?, ?, ?, 0, 0, 0)",
            (user_id, version, algorithm, auth_data),
        )
        return version

    async def set_auth_data(self, txn: Transaction, user_id: str, version: int, auth_data: str) -> None:
        await txn.execute(
            "UPDATE key_backups SET auth_data = ? WHERE user_id = ? AND version = ?", (auth_data, user_id, version)
        )

    async def note_change(self, txn: Transaction, user_id: str, version: int, added: int) -> None:
        """A change to the keys: a new etag, and `added` more keys (negative for fewer)."""
        await txn.execute(
            "UPDATE key_backups SET etag = etag + 1, key_count = key_count + ? WHERE user_id = ? AND version = ?",
            (added, user_id, version),
        )

    async def delete_backup(self, txn: Transaction, user_id: str, version: int) -> None:
        """The keys go; the row stays and says that it is deleted."""
        await txn.execute("DELETE FROM backed_up_keys WHERE user_id = ? AND version = ?", (user_id, version))
        await txn.execute(
            "UPDATE key_backups SET is_deleted = 1, key_count = 0, auth_data = '{}' WHERE user_id = ? AND version = ?",
            (user_id, version),
        )

    async def remove_all(self, txn: Transaction, user_id: str) -> None:
        """Nothing of the user stays."""
        await txn.execute("DELETE FROM backed_up_keys WHERE user_id = ?", (user_id,))
        await txn.execute("DELETE FROM key_backups WHERE user_id = ?", (user_id,))

    async def list_keys(
        self,
        user_id: str,
        version: int,
        room_id: str | None = None,
        session_id: str | None = None,
        reader: Reader | None = None,
    ) -> list[BackedUpKey]:
        """All of a version, or those of a room, or one."""
        rows = await (reader or self._db).fetch_all(
            f"SELECT {_KEY} FROM backed_up_keys WHERE user_id = ? AND version = ?"
            + ("" if room_id is None else " AND room_id = ?")
            + ("" if session_id is None else " AND session_id = ?")
            + " ORDER BY room_id, session_id",
            tuple(each for each in (user_id, version, room_id, session_id) if each is not None),
        )
        return [_key(row) for row in rows]

    async def find_key(
        self, user_id: str, version: int, room_id: str, session_id: str, reader: Reader | None = None
    ) -> BackedUpKey | None:
        found = await self.list_keys(user_id, version, room_id, session_id, reader)
        return found[0] if found else None

    async def find_keys(
        self, user_id: str, version: int, room_id: str, session_ids: Sequence[str], reader: Reader | None = None
    ) -> list[BackedUpKey]:
        """Those of the given sessions of a room that are there."""
        found: list[BackedUpKey] = []
        for start in range(0, len(session_ids), _CHUNK):
            chunk = session_ids[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            rows = await (reader or self._db).fetch_all(
                f"SELECT {_KEY} FROM backed_up_keys WHERE user_id = ? AND version = ? AND room_id = ? "
                f"AND session_id IN ({marks})",
                (user_id, version, room_id, *chunk),
            )
            found.extend(_key(row) for row in rows)
        return found

    async def set_keys(self, txn: Transaction, user_id: str, version: int, keys: Sequence[BackedUpKey]) -> None:
        await txn.execute_many(
            f"INSERT INTO backed_up_keys (user_id, version, {_KEY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (user_id, version, room_id, session_id) DO UPDATE SET is_verified = excluded.is_verified, "
            "first_message_index = excluded.first_message_index, forwarded_count = excluded.forwarded_count, "
            "session_data = excluded.session_data",
            [
                (
                    user_id,
                    version,
                    key.room_id,
                    key.session_id,
                    int(key.is_verified),
                    key.first_message_index,
                    key.forwarded_count,
                    key.session_data,
                )
                for key in keys
            ],
        )

    async def remove_keys(
        self, txn: Transaction, user_id: str, version: int, room_id: str | None = None, session_id: str | None = None
    ) -> int:
        """All of a version, or those of a room, or one; how many there were."""
        return await txn.execute(
            "DELETE FROM backed_up_keys WHERE user_id = ? AND version = ?"
            + ("" if room_id is None else " AND room_id = ?")
            + ("" if session_id is None else " AND session_id = ?"),
            tuple(each for each in (user_id, version, room_id, session_id) if each is not None),
        )


def _backup(row: Row) -> KeyBackup:
    return KeyBackup(row[0], row[1], row[2], row[3], row[4], bool(row[5]))


def _key(row: Row) -> BackedUpKey:
    return BackedUpKey(row[0], row[1], bool(row[2]), row[3], row[4], row[5])
