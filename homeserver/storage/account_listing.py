"""All accounts as operators list them: filtered, in any order, a page at a time, with names and when they were seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from homeserver.storage.database import Database, Row
from homeserver.storage.reports import contains
from homeserver.storage.user_directory import fold

OrderBy = Literal[
    "name",
    "is_guest",
    "admin",
    "user_type",
    "deactivated",
    "shadow_banned",
    "displayname",
    "avatar_url",
    "creation_ts",
    "last_seen_ts",
    "locked",
]

_ORDER: Final[dict[str, str]] = {
    "name": "a.user_id",
    "is_guest": "a.is_guest",
    "admin": "a.is_admin",
    "user_type": "COALESCE(a.user_type, '')",
    "deactivated": "a.is_deactivated",
    "shadow_banned": "a.user_id",
    "displayname": "COALESCE(d.display_name, '')",
    "avatar_url": "COALESCE(d.avatar_url, '')",
    "creation_ts": "a.created_ts",
    "last_seen_ts": "COALESCE(s.seen, 0)",
    "locked": "a.is_locked",
}
_TABLES: Final = (
    "accounts AS a LEFT JOIN user_directory AS d ON d.user_id = a.user_id LEFT JOIN"
    " (SELECT user_id, MAX(last_seen_ts) AS seen FROM devices GROUP BY user_id) AS s ON s.user_id = a.user_id"
)


@dataclass(frozen=True, slots=True)
class AccountQuery:
    """What to list. `name` is a part of a name or of the localpart, `user_id` of the whole id; None: whatever."""

    name: str | None = None
    user_id: str | None = None
    guests: bool = True
    admins: bool | None = None
    deactivated: bool | None = None
    locked: bool | None = None
    suspended: bool | None = None
    not_user_types: Sequence[str] = field(default_factory=tuple)
    order_by: OrderBy = "name"
    descending: bool = False
    start: int = 0
    limit: int = 100


@dataclass(frozen=True, slots=True)
class ListedAccount:
    """One line of the list. Times in milliseconds."""

    user_id: str
    created_ts: int
    is_guest: bool
    is_admin: bool
    is_locked: bool
    is_suspended: bool
    is_deactivated: bool
    is_erased: bool
    appservice_id: str | None
    user_type: str | None
    display_name: str | None
    avatar_url: str | None
    last_seen_ts: int | None


class AccountListingStore:
    """Queries over all accounts."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, query: AccountQuery) -> tuple[list[ListedAccount], int]:
        """(a page, how many accounts there are in all)."""
        conditions, params = ["1 = 1"], list[Any]()
        if query.name is not None:
            conditions.append("(d.search_name LIKE ? ESCAPE '\\' OR a.user_id LIKE ? ESCAPE '\\')")
            params += [contains(fold(query.name)), "@" + contains(query.name.lower()) + ":%"]
        elif query.user_id is not None:
            conditions.append("a.user_id LIKE ? ESCAPE '\\'")
            params.append(contains(query.user_id.lower()))
        if not query.guests:
            conditions.append("a.is_guest = 0")
        for wanted, condition in (
            (query.admins, "a.is_admin = ?"),
            (query.deactivated, "a.is_deactivated = ?"),
            (query.locked, "a.is_locked = ?"),
            (query.suspended, "a.is_suspended = ?"),
        ):
            if wanted is not None:
                conditions.append(condition)
                params.append(int(wanted))
        for user_type in query.not_user_types:
            conditions.append("COALESCE(a.user_type, '') <> ?")
            params.append(user_type)
        where = " AND ".join(conditions)
        total = await self._db.fetch_value(f"SELECT COUNT(*) FROM {_TABLES} WHERE {where}", params)
        direction = "DESC" if query.descending else "ASC"
        rows = await self._db.fetch_all(
            "SELECT a.user_id, a.created_ts, a.is_guest, a.is_admin, a.is_locked, a.is_suspended, a.is_deactivated,"
            f" a.is_erased, a.appservice_id, a.user_type, d.display_name, d.avatar_url, s.seen FROM {_TABLES}"
            f" WHERE {where} ORDER BY {_ORDER[query.order_by]} {direction}, a.user_id LIMIT ? OFFSET ?",
            (*params, query.limit, query.start),
        )
        return [_listed(row) for row in rows], int(total)

    async def count_sent_invites(self, user_id: str, from_ts: int) -> int:
        """Invites that a user has sent since a time."""
        return int(
            await self._db.fetch_value(
                "SELECT COUNT(*) FROM events WHERE type = 'm.room.member' AND sender = ? AND state_key <> ?"
                ' AND origin_server_ts >= ? AND status = 0 AND json LIKE \'%"membership":"invite"%\'',
                (user_id, user_id, from_ts),
            )
        )

    async def count_joined_rooms(self, user_id: str, from_ts: int) -> int:
        """Rooms that a user has joined since a time, also those that the user left again."""
        return int(
            await self._db.fetch_value(
                "SELECT COUNT(DISTINCT room_id) FROM events WHERE type = 'm.room.member' AND state_key = ?"
                ' AND origin_server_ts >= ? AND status = 0 AND json LIKE \'%"membership":"join"%\'',
                (user_id, from_ts),
            )
        )


def _listed(row: Row) -> ListedAccount:
    (user_id, created, guest, admin, locked, suspended, gone, erased, appservice, kind, name, avatar, seen) = row
    return ListedAccount(
        user_id=user_id,
        created_ts=created,
        is_guest=bool(guest),
        is_admin=bool(admin),
        is_locked=bool(locked),
        is_suspended=bool(suspended),
        is_deactivated=bool(gone),
        is_erased=bool(erased),
        appservice_id=appservice,
        user_type=kind,
        display_name=name,
        avatar_url=avatar,
        last_seen_ts=seen,
    )
