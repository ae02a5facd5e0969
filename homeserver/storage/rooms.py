"""Rooms, their current state and its history, and who is in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from homeserver.storage.database import Database, Transaction

StateKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Membership:
    """A user's newest membership of a room; `position` is where it began, `sender` who made it so."""

    room_id: str
    user_id: str
    membership: str
    event_id: str
    sender: str
    position: int
    forgotten: bool


_MEMBERSHIP = "SELECT room_id, user_id, membership, event_id, sender, position, forgotten FROM memberships"


def _membership(row: tuple[Any, ...]) -> Membership:
    return Membership(row[0], row[1], row[2], row[3], row[4], row[5], bool(row[6]))


class RoomStore:
    """Rooms and their state."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @property
    def position(self) -> int:
        """The newest committed position of the stream."""
        return self._db.position

    def add_room(
        self,
        txn: Transaction,
        room_id: str,
        version: str,
        creator: str,
        extremities: Sequence[tuple[Any, ...]],
        at: int,
    ) -> None:
        txn.add(
            "INSERT INTO rooms (room_id, version, creator, extremities, created_position) VALUES (?, ?, ?, ?, ?)",
            (room_id, version, creator, json.dumps(extremities), at),
        )

    def set_extremities(self, txn: Transaction, room_id: str, extremities: Sequence[tuple[Any, ...]]) -> None:
        """The newest events of the room's graph, each with its depth."""
        txn.put("UPDATE rooms SET extremities = ? WHERE room_id = ?", room_id, (json.dumps(extremities), room_id))

    def set_state(self, txn: Transaction, room_id: str, key: StateKey, event_id: str, position: int) -> None:
        """From `position` on, `event_id` is the state at `key`."""
        txn.add(
            "INSERT INTO state_changes (room_id, type, state_key, position, event_id) VALUES (?, ?, ?, ?, ?)",
            (room_id, *key, position, event_id),
        )
        txn.put(
            "INSERT INTO current_state (room_id, type, state_key, event_id) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (room_id, type, state_key) DO UPDATE SET event_id = excluded.event_id",
            (room_id, key),
            (room_id, *key, event_id),
        )

    def remove_state(self, txn: Transaction, room_id: str, key: StateKey, position: int) -> None:
        """From `position` on, nothing is the state at `key`."""
        txn.add(
            "INSERT INTO state_changes (room_id, type, state_key, position, event_id) VALUES (?, ?, ?, ?, NULL)",
            (room_id, *key, position),
        )
        txn.add("DELETE FROM current_state WHERE room_id = ? AND type = ? AND state_key = ?", (room_id, *key))

    def set_membership(self, txn: Transaction, membership: Membership) -> None:
        """The user's newest membership. A join said again (with a changed name, say) began when it began.

        Each change is written, also of several in one batch: who leaves and comes back begins anew.
        """
        txn.add(
            "INSERT INTO memberships (user_id, room_id, membership, event_id, sender, position, forgotten)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, room_id) DO UPDATE SET"
            " membership = excluded.membership, event_id = excluded.event_id, sender = excluded.sender, position ="
            " CASE WHEN memberships.membership = 'join' AND excluded.membership = 'join' THEN memberships.position"
            " ELSE excluded.position END, forgotten = excluded.forgotten",
            (
                membership.user_id,
                membership.room_id,
                membership.membership,
                membership.event_id,
                membership.sender,
                membership.position,
                int(membership.forgotten),
            ),
        )

    async def end_membership(self, txn: Transaction, room_id: str, user_id: str, position: int) -> None:
        """The user is out of a room that this server is not in."""
        await txn.execute(
            "UPDATE memberships SET membership = 'leave', sender = user_id, position = ?"
            " WHERE user_id = ? AND room_id = ?",
            (position, user_id, room_id),
        )

    def set_stripped_state(self, txn: Transaction, room_id: str, user_id: str, stripped_state: str) -> None:
        """What an invite from elsewhere told of its room, as JSON."""
        txn.add(
            "INSERT INTO invites_from_elsewhere (room_id, user_id, stripped_state) VALUES (?, ?, ?)"
            " ON CONFLICT (room_id, user_id) DO UPDATE SET stripped_state = excluded.stripped_state",
            (room_id, user_id, stripped_state),
        )

    def remove_stripped_states(self, txn: Transaction, room_id: str) -> None:
        """This server is in the room now, and knows better."""
        txn.add("DELETE FROM invites_from_elsewhere WHERE room_id = ?", (room_id,))

    async def find_stripped_state(self, room_id: str, user_id: str) -> str | None:
        found: str | None = await self._db.fetch_value(
            "SELECT stripped_state FROM invites_from_elsewhere WHERE room_id = ? AND user_id = ?", (room_id, user_id)
        )
        return found

    async def set_forgotten(self, txn: Transaction, user_id: str, room_id: str) -> None:
        await txn.execute("UPDATE memberships SET forgotten = 1 WHERE user_id = ? AND room_id = ?", (user_id, room_id))

    async def find_room(self, room_id: str) -> tuple[str, str, list[list[Any]], int] | None:
        """(version, creator, forward extremities as they were set, position of creation) of a room."""
        row = await self._db.fetch_one(
            "SELECT version, creator, extremities, created_position FROM rooms WHERE room_id = ?", (room_id,)
        )
        if row is None:
            return None
        return row[0], row[1], json.loads(row[2]), row[3]

    async def has_branches(self, room_id: str) -> bool:
        """Whether the room was ever anything else than one line."""
        found = await self._db.fetch_value("SELECT 1 FROM branch_states WHERE room_id = ? LIMIT 1", (room_id,))
        return found is not None

    async def list_state_ids(self, room_id: str) -> list[tuple[StateKey, str]]:
        """The current state of a room: key and event id."""
        rows = await self._db.fetch_all(
            "SELECT type, state_key, event_id FROM current_state WHERE room_id = ?", (room_id,)
        )
        return [((row[0], row[1]), row[2]) for row in rows]

    async def list_state_ids_at(
        self, room_id: str, position: int, *, keys: Sequence[StateKey] | None = None
    ) -> dict[StateKey, str]:
        """The state just after `position`: all of it, or only these keys."""
        if keys is not None:
            return await self._state_of_keys(room_id, position, keys)
        rows = await self._db.fetch_all(
            "SELECT c.type, c.state_key, c.event_id FROM state_changes AS c JOIN ("
            " SELECT type, state_key, MAX(position) AS newest FROM state_changes"
            " WHERE room_id = ? AND position <= ? GROUP BY type, state_key"
            ") AS n ON c.type = n.type AND c.state_key = n.state_key AND c.position = n.newest"
            " WHERE c.room_id = ? AND c.event_id IS NOT NULL",
            (room_id, position, room_id),
        )
        return {(row[0], row[1]): row[2] for row in rows}

    async def _state_of_keys(self, room_id: str, position: int, keys: Sequence[StateKey]) -> dict[StateKey, str]:
        found: dict[StateKey, str] = {}
        for key in keys:
            event_id = await self._db.fetch_value(
                "SELECT event_id FROM state_changes WHERE room_id = ? AND type = ? AND state_key = ?"
                " AND position <= ? ORDER BY position DESC LIMIT 1",
                (room_id, *key, position),
            )
            if event_id is not None:
                found[key] = event_id
        return found

    async def find_first_state_position(self, room_id: str) -> int:
        """Where the log of the room's state begins: with its creation, or when this server came into it."""
        found: int | None = await self._db.fetch_value(
            "SELECT MIN(position) FROM state_changes WHERE room_id = ? AND position > 0", (room_id,)
        )
        return found or 0

    async def list_state_changes(
        self, room_id: str, after: int, up_to: int, *, event_type: str | None = None, limit: int | None = None
    ) -> list[tuple[int, StateKey, str | None]]:
        """(position, key, event id) of what changed in after < position <= up_to, oldest first; the first `limit`."""
        condition = "" if event_type is None else " AND type = ?"
        params = (room_id, after, up_to) if event_type is None else (room_id, after, up_to, event_type)
        bound = "" if limit is None else " LIMIT ?"
        rows = await self._db.fetch_all(
            "SELECT position, type, state_key, event_id FROM state_changes WHERE room_id = ? AND position > ?"
            f" AND position <= ?{condition} ORDER BY position{bound}",
            params if limit is None else (*params, limit),
        )
        return [(row[0], (row[1], row[2]), row[3]) for row in rows]

    async def list_key_history(self, room_id: str, key: StateKey) -> list[tuple[int, str | None]]:
        """(position, event id) of every value that `key` has had, oldest first."""
        rows = await self._db.fetch_all(
            "SELECT position, event_id FROM state_changes WHERE room_id = ? AND type = ? AND state_key = ?"
            " ORDER BY position",
            (room_id, *key),
        )
        return [(row[0], row[1]) for row in rows]

    async def list_memberships(self, user_id: str) -> list[Membership]:
        """Every room that the user has ever had a membership in, forgotten ones included."""
        rows = await self._db.fetch_all(f"{_MEMBERSHIP} WHERE user_id = ?", (user_id,))
        return [_membership(row) for row in rows]

    async def list_joins(self, user_ids: Sequence[str], after: int) -> list[tuple[str, str]]:
        """(room, user) where one of the users joined after a position."""
        found: list[tuple[str, str]] = []
        for start in range(0, len(user_ids), 500):
            part = user_ids[start : start + 500]
            rows = await self._db.fetch_all(
                "SELECT room_id, user_id FROM memberships WHERE position > ? AND membership = 'join'"
                f" AND user_id IN ({', '.join('?' * len(part))})",
                (after, *part),
            )
            found += [(row[0], row[1]) for row in rows]
        return found

    async def list_members(self, room_id: str) -> list[Membership]:
        """Everybody who has a membership in the room, whose membership changed last at the end."""
        rows = await self._db.fetch_all(f"{_MEMBERSHIP} WHERE room_id = ? ORDER BY position", (room_id,))
        return [_membership(row) for row in rows]

    async def list_sharing(self, user_id: str, others: Sequence[str]) -> set[str]:
        """Those of `others` who are joined to a room to which `user_id` is joined."""
        found: set[str] = set()
        for start in range(0, len(others), 500):
            part = others[start : start + 500]
            rows = await self._db.fetch_all(
                "SELECT DISTINCT o.user_id FROM memberships AS m JOIN memberships AS o ON o.room_id = m.room_id"
                " WHERE m.user_id = ? AND m.membership = 'join' AND o.membership = 'join'"
                f" AND o.user_id IN ({', '.join('?' * len(part))})",
                (user_id, *part),
            )
            found.update(row[0] for row in rows)
        return found

    async def find_membership(self, room_id: str, user_id: str) -> Membership | None:
        row = await self._db.fetch_one(f"{_MEMBERSHIP} WHERE user_id = ? AND room_id = ?", (user_id, room_id))
        return None if row is None else _membership(row)
