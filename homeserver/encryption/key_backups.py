"""Backups of room keys: clients encrypt them, the server keeps them in versions and decides which of two it keeps.

Spec: Client-Server API, "Server-side key backups".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from homeserver.protocol.errors import InvalidParam, NotFound, ResourceLimitExceeded, TooLarge, WrongRoomKeysVersion
from homeserver.storage.database import Database, Reader, Transaction
from homeserver.storage.key_backups import BackedUpKey, KeyBackup, KeyBackupStore

MAXIMUM_VERSIONS: Final = 100
MAXIMUM_KEYS: Final = 1_000_000
MAXIMUM_SESSION_BYTES: Final = 16 * 1024
MAXIMUM_AUTH_DATA_BYTES: Final = 64 * 1024
_ID_LENGTH: Final = 255
_PER_TRANSACTION: Final = 1_000

_Index = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class SessionBackup(msgspec.Struct):
    """One session's key, as clients send it."""

    first_message_index: _Index
    forwarded_count: _Index
    is_verified: bool
    session_data: dict[str, Any]


class RoomBackup(msgspec.Struct):
    """The sessions of one room."""

    sessions: dict[str, SessionBackup]


class KeyBackups:
    """The backups of local users. Versions are decimal numbers, opaque to clients."""

    def __init__(self, db: Database, store: KeyBackupStore) -> None:
        self._db = db
        self._store = store

    async def create(self, user_id: str, algorithm: str, auth_data: Mapping[str, Any]) -> str:
        """The new version, which is the current one from now on. Raises InvalidParam, TooLarge, ResourceLimitExceeded.

        Older versions stay until they are deleted; there is a limit to how many.
        """
        if not 0 < len(algorithm) <= _ID_LENGTH:
            raise InvalidParam("The algorithm must have a name of at most 255 characters.")
        text = _auth_data(auth_data)

        async def write(txn: Transaction) -> int:
            if len(await self._store.list_versions(user_id, txn)) >= MAXIMUM_VERSIONS:
                raise ResourceLimitExceeded(f"At most {MAXIMUM_VERSIONS} backups are kept; delete old ones first.")
            return await self._store.add_backup(txn, user_id, algorithm, text)

        return str(await self._db.write(write))

    async def describe(self, user_id: str, version: str | None = None) -> dict[str, Any]:
        """The current version, or another one. Raises NotFound."""
        if version is None:
            backup = await self._store.find_current_backup(user_id)
            if backup is None:
                raise NotFound("There is no backup.")
        else:
            backup = await self._get(user_id, version)
        return {
            "algorithm": backup.algorithm,
            "auth_data": msgspec.Raw(backup.auth_data.encode()),
            "count": backup.key_count,
            "etag": str(backup.etag),
            "version": str(backup.version),
        }

    async def update(
        self, user_id: str, version: str, algorithm: str, auth_data: Mapping[str, Any], said_version: str | None
    ) -> None:
        """Only `auth_data` can be modified. Raises NotFound, InvalidParam, TooLarge."""
        if said_version is not None and said_version != version:
            raise InvalidParam("The version in the body is not that of the path.")
        text = _auth_data(auth_data)

        async def write(txn: Transaction) -> None:
            backup = await self._get(user_id, version, txn)
            if backup.algorithm != algorithm:
                raise InvalidParam("The algorithm does not match that of the backup.")
            await self._store.set_auth_data(txn, user_id, backup.version, text)

        await self._db.write(write)

    async def delete(self, user_id: str, version: str) -> None:
        """With its keys. "If the backup was previously deleted, the call should succeed". Raises NotFound."""

        async def write(txn: Transaction) -> None:
            backup = await self._store.find_backup(user_id, _number(version), txn)
            if backup is None:
                raise NotFound("There is no such backup.")
            if not backup.is_deleted:
                await self._store.delete_backup(txn, user_id, backup.version)

        await self._db.write(write)

    async def add_keys(self, user_id: str, version: str, rooms: Mapping[str, RoomBackup]) -> dict[str, Any]:
        """{count, etag} of the backup now. Raises NotFound, WrongRoomKeysVersion, InvalidParam, TooLarge,
        ResourceLimitExceeded."""
        keys = [
            _key(room_id, session_id, session)
            for room_id, room in rooms.items()
            for session_id, session in room.sessions.items()
        ]
        answer: dict[str, Any] = {}
        for start in range(0, max(len(keys), 1), _PER_TRANSACTION):
            part = keys[start : start + _PER_TRANSACTION]
            answer = await self._add(user_id, version, part)
        return answer

    async def list_keys(
        self, user_id: str, version: str, room_id: str | None = None
    ) -> dict[str, dict[str, dict[str, Any]]]:
        """{room id: {"sessions": {session id: key}}}. Raises NotFound."""
        backup = await self._get(user_id, version)
        rooms: dict[str, dict[str, dict[str, Any]]] = {}
        for key in await self._store.list_keys(user_id, backup.version, room_id):
            rooms.setdefault(key.room_id, {"sessions": {}})["sessions"][key.session_id] = _members(key)
        return rooms

    async def get_key(self, user_id: str, version: str, room_id: str, session_id: str) -> dict[str, Any]:
        """Raises NotFound."""
        backup = await self._get(user_id, version)
        key = await self._store.find_key(user_id, backup.version, room_id, session_id)
        if key is None:
            raise NotFound("The backup does not have this key.")
        return _members(key)

    async def delete_keys(
        self, user_id: str, version: str, room_id: str | None = None, session_id: str | None = None
    ) -> dict[str, Any]:
        """{count, etag} of the backup afterwards. Raises NotFound."""

        async def write(txn: Transaction) -> dict[str, Any]:
            backup = await self._get(user_id, version, txn)
            removed = await self._store.remove_keys(txn, user_id, backup.version, room_id, session_id)
            return await self._changed(txn, user_id, backup, -removed, is_changed=removed > 0)

        return await self._db.write(write)

    async def remove_user(self, txn: Transaction, user_id: str) -> None:
        """The account has ended."""
        await self._store.remove_all(txn, user_id)

    async def _add(self, user_id: str, version: str, keys: list[BackedUpKey]) -> dict[str, Any]:
        async def write(txn: Transaction) -> dict[str, Any]:
            backup = await self._get_current(txn, user_id, version)
            by_room: dict[str, list[str]] = {}
            for key in keys:
                by_room.setdefault(key.room_id, []).append(key.session_id)
            known: dict[tuple[str, str], BackedUpKey] = {}
            for room_id, session_ids in by_room.items():
                for old in await self._store.find_keys(user_id, backup.version, room_id, session_ids, txn):
                    known[room_id, old.session_id] = old
            added = len(keys) - len(known)
            better = [key for key in keys if _is_better(key, known.get((key.room_id, key.session_id)))]
            if backup.key_count + added > MAXIMUM_KEYS:
                raise ResourceLimitExceeded(f"A backup has at most {MAXIMUM_KEYS} keys.")
            if better:
                await self._store.set_keys(txn, user_id, backup.version, better)
            return await self._changed(txn, user_id, backup, added, is_changed=bool(better))

        return await self._db.write(write)

    async def _changed(
        self, txn: Transaction, user_id: str, backup: KeyBackup, added: int, *, is_changed: bool
    ) -> dict[str, Any]:
        if is_changed:
            await self._store.note_change(txn, user_id, backup.version, added)
        return {"count": backup.key_count + added, "etag": str(backup.etag + is_changed)}

    async def _get(self, user_id: str, version: str, reader: Reader | None = None) -> KeyBackup:
        backup = await self._store.find_backup(user_id, _number(version), reader)
        if backup is None or backup.is_deleted:
            raise NotFound("There is no such backup.")
        return backup

    async def _get_current(self, txn: Transaction, user_id: str, version: str) -> KeyBackup:
        """ "Keys can only be written to the most recently created version of the backup." """
        backup = await self._get(user_id, version, txn)
        current = await self._store.find_current_backup(user_id, txn)
        if current is not None and current.version != backup.version:
            raise WrongRoomKeysVersion(
                "Keys can only be written to the newest backup.", current_version=str(current.version)
            )
        return backup


def _is_better(new: BackedUpKey, old: BackedUpKey | None) -> bool:
    """ "if the keys have different values for `is_verified`, then it will keep the key that has `is_verified` set to
    `true`; if they have the same values for `is_verified`, then it will keep the key with a lower
    `first_message_index`; and finally, if `is_verified` and `first_message_index` are equal, then it will keep the key
    with a lower `forwarded_count`." """
    if old is None:
        return True
    return (not new.is_verified, new.first_message_index, new.forwarded_count) < (
        not old.is_verified,
        old.first_message_index,
        old.forwarded_count,
    )


def _number(version: str) -> int:
    if not (version.isascii() and version.isdigit() and len(version) <= 15):
        raise NotFound("There is no such backup.")
    return int(version)


def _auth_data(auth_data: Mapping[str, Any]) -> str:
    text = msgspec.json.encode(auth_data)
    if len(text) > MAXIMUM_AUTH_DATA_BYTES:
        raise TooLarge(f"'auth_data' must be at most {MAXIMUM_AUTH_DATA_BYTES} bytes.")
    return text.decode()


def _key(room_id: str, session_id: str, session: SessionBackup) -> BackedUpKey:
    if not 0 < len(room_id) <= _ID_LENGTH or room_id[0] != "!":
        raise InvalidParam("The keys of 'rooms' must be room ids.")
    if not 0 < len(session_id) <= _ID_LENGTH:
        raise InvalidParam("A session id has 1 to 255 characters.")
    data = msgspec.json.encode(session.session_data)
    if len(data) > MAXIMUM_SESSION_BYTES:
        raise TooLarge(f"'session_data' must be at most {MAXIMUM_SESSION_BYTES} bytes.")
    return BackedUpKey(
        room_id,
        session_id,
        session.is_verified,
        session.first_message_index,
        session.forwarded_count,
        data.decode(),
    )


def _members(key: BackedUpKey) -> dict[str, Any]:
    return {
        "first_message_index": key.first_message_index,
        "forwarded_count": key.forwarded_count,
        "is_verified": key.is_verified,
        "session_data": msgspec.Raw(key.session_data.encode()),
    }
