"""All rooms as operators list them: counts and contents, read for many rooms at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.storage.database import Database


@dataclass(frozen=True, slots=True)
class RoomCounts:
    """What is counted of a room."""

    creator: str
    joined: int
    joined_local: int
    state_events: int
    is_published: bool


class RoomListingStore:
    """Queries over all rooms."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @property
    def position(self) -> int:
        """The newest committed position of the stream."""
        return self._db.position

    async def list_room_ids(self) -> list[str]:
        rows = await self._db.fetch_all("SELECT room_id FROM rooms ORDER BY room_id")
        return [row[0] for row in rows]

    async def list_counts(self, room_ids: Sequence[str], server_name: str) -> dict[str, RoomCounts]:
        """By room; rooms that do not exist are absent."""
        found: dict[str, RoomCounts] = {}
        for start in range(0, len(room_ids), 500):
            part = room_ids[start : start + 500]
            marks = ", ".join("?" * len(part))
            rows = await self._db.fetch_all(
                "SELECT r.room_id, r.creator,"
                " (SELECT COUNT(*) FROM memberships AS m WHERE m.room_id = r.room_id AND m.membership = 'join'),"
                " (SELECT COUNT(*) FROM memberships AS m WHERE m.room_id = r.room_id AND m.membership = 'join'"
                " AND substr(m.user_id, length(m.user_id) - ?) = ?),"
                " (SELECT COUNT(*) FROM current_state AS c WHERE c.room_id = r.room_id),"
                " (SELECT COUNT(*) FROM published_rooms AS p WHERE p.room_id = r.room_id AND p.appservice_id = '')"
                f" FROM rooms AS r WHERE r.room_id IN ({marks})",
                (len(server_name), ":" + server_name, *part),
            )
            for room_id, creator, joined, local, state, published in rows:
                found[room_id] = RoomCounts(creator, joined, local, state, bool(published))
        return found

    async def count_local_devices(self, room_id: str) -> int:
        """Devices of members who belong to this server."""
        return int(
            await self._db.fetch_value(
                "SELECT COUNT(*) FROM memberships AS m JOIN devices AS d ON d.user_id = m.user_id"
                " WHERE m.room_id = ? AND m.membership = 'join'",
                (room_id,),
            )
        )

    async def is_forgotten(self, room_id: str, server_name: str) -> bool:
        """Whether everybody of this server who had to do with the room has forgotten it."""
        remembered = await self._db.fetch_value(
            "SELECT COUNT(*) FROM memberships WHERE room_id = ? AND forgotten = 0"
            " AND substr(user_id, length(user_id) - ?) = ?",
            (room_id, len(server_name), ":" + server_name),
        )
        return not remembered

    async def list_rooms_of_server(self, server_name: str) -> list[str]:
        """Rooms in which a user of that server is joined, by id."""
        rows = await self._db.fetch_all(
            "SELECT DISTINCT room_id FROM memberships WHERE membership = 'join'"
            " AND substr(user_id, length(user_id) - ?) = ? ORDER BY room_id",
            (len(server_name), ":" + server_name),
        )
        return [row[0] for row in rows]

    async def list_sizes(self, limit: int = 10) -> list[tuple[str, int]]:
        """(room id, bytes of its events) of the largest rooms."""
        rows = await self._db.fetch_all(
            "SELECT room_id, SUM(length(json)) AS size FROM events GROUP BY room_id ORDER BY size DESC LIMIT ?",
            (limit,),
        )
        return [(row[0], int(row[1])) for row in rows]
