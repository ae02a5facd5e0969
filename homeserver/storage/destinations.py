"""Other servers as destinations: how far each was told of the stream, and when it may be asked again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.storage.database import Database, Row, Transaction

_COLUMNS = "server_name, failures, retry_at_ts, sent_position, is_behind, failing_since_ts, tried_at_ts"


@dataclass(frozen=True, slots=True)
class Destination:
    """`failures` in a row, the first at `failing_since_ts`, the last at `tried_at_ts`; nothing is sent before
    `retry_at_ts` (milliseconds). Told of all up to `sent_position`; `is_behind`: and of nothing later."""

    server_name: str
    failures: int = 0
    retry_at_ts: int = 0
    sent_position: int = 0
    is_behind: bool = False
    failing_since_ts: int = 0
    tried_at_ts: int = 0


class DestinationStore:
    """The table `destinations`, what waits for them, and the answers to transactions that came in."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_destinations(self) -> list[Destination]:
        rows = await self._db.fetch_all(f"SELECT {_COLUMNS} FROM destinations")
        return [_destination(row) for row in rows]

    async def find_destination(self, server_name: str) -> Destination | None:
        row = await self._db.fetch_one(f"SELECT {_COLUMNS} FROM destinations WHERE server_name = ?", (server_name,))
        return None if row is None else _destination(row)

    def set_standing(
        self,
        txn: Transaction,
        server_name: str,
        failures: int,
        failing_since_ts: int,
        tried_at_ts: int,
        retry_at_ts: int,
    ) -> None:
        """How a server does. What it was told of stays as it is."""
        txn.put(
            "INSERT INTO destinations (server_name, failures, failing_since_ts, tried_at_ts, retry_at_ts,"
            " sent_position, txn_number, is_behind) VALUES (?, ?, ?, ?, ?, 0, 0, 0)"
            " ON CONFLICT (server_name) DO UPDATE SET failures = excluded.failures,"
            " failing_since_ts = excluded.failing_since_ts, tried_at_ts = excluded.tried_at_ts,"
            " retry_at_ts = excluded.retry_at_ts",
            server_name,
            (server_name, failures, failing_since_ts, tried_at_ts, retry_at_ts),
        )

    def set_told(self, txn: Transaction, server_name: str, sent_position: int, *, is_behind: bool) -> None:
        """What a server was told of. How it does stays as it is."""
        txn.put(
            "INSERT INTO destinations (server_name, failures, failing_since_ts, tried_at_ts, retry_at_ts,"
            " sent_position, txn_number, is_behind) VALUES (?, 0, 0, 0, 0, ?, 0, ?)"
            " ON CONFLICT (server_name) DO UPDATE SET sent_position = excluded.sent_position,"
            " is_behind = excluded.is_behind",
            server_name,
            (server_name, sent_position, int(is_behind)),
        )

    async def find_place(self, reader: str) -> int | None:
        """How far one of federation's readers is in the stream."""
        found: int | None = await self._db.fetch_value(
            "SELECT position FROM federation_places WHERE reader = ?", (reader,)
        )
        return found

    def set_place(self, txn: Transaction, reader: str, position: int) -> None:
        txn.put(
            "INSERT INTO federation_places (reader, position) VALUES (?, ?)"
            " ON CONFLICT (reader) DO UPDATE SET position = excluded.position",
            reader,
            (reader, position),
        )

    def add_edu(self, txn: Transaction, destination: str, edu: str, about: str | None = None) -> None:
        """An EDU (as JSON) that waits for a server until it was taken there; it takes the place of what is `about` the
        same."""
        if about is None:
            txn.add(
                "INSERT INTO outgoing_edus (destination, number, edu) VALUES (?, ?, ?)",
                (destination, txn.next_position(), edu),
            )
            return
        txn.put(
            "INSERT INTO outgoing_edus (destination, number, edu, about) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (destination, about) WHERE about IS NOT NULL"
            " DO UPDATE SET number = excluded.number, edu = excluded.edu",
            (destination, about),
            (destination, txn.next_position(), edu, about),
        )

    async def list_edus(self, destination: str, limit: int) -> list[tuple[int, str]]:
        """(number, EDU as JSON) of what waits for a server, oldest first."""
        rows = await self._db.fetch_all(
            "SELECT number, edu FROM outgoing_edus WHERE destination = ? ORDER BY number LIMIT ?", (destination, limit)
        )
        return [(row[0], row[1]) for row in rows]

    async def remove_edus(self, txn: Transaction, destination: str, up_to: int) -> None:
        await txn.execute("DELETE FROM outgoing_edus WHERE destination = ? AND number <= ?", (destination, up_to))

    async def list_waiting_destinations(self) -> list[str]:
        """The servers that EDUs wait for."""
        rows = await self._db.fetch_all("SELECT DISTINCT destination FROM outgoing_edus")
        return [row[0] for row in rows]

    # ---- events of ours

    async def list_own_events(self, domain: str, after: int, up_to: int, limit: int) -> list[tuple[str, int]]:
        """(room, position) of accepted events that users of this server sent, oldest first."""
        rows = await self._db.fetch_all(
            "SELECT room_id, position FROM events WHERE position > ? AND position <= ? AND status = 0"
            " AND substr(sender, length(sender) - ?) = ? ORDER BY position LIMIT ?",
            (after, up_to, len(domain), ":" + domain, limit),
        )
        return [(row[0], row[1]) for row in rows]

    async def has_users_of_others(self, room_id: str, domain: str) -> bool:
        """Whether a user of another server is in a room, or ever was."""
        found = await self._db.fetch_value(
            "SELECT 1 FROM memberships WHERE room_id = ? AND substr(user_id, length(user_id) - ?) <> ? LIMIT 1",
            (room_id, len(domain), ":" + domain),
        )
        return found is not None

    async def note_own_events(self, txn: Transaction, domain: str, after: int) -> None:
        """Note all of them after a position in `own_newest_events`, for what nobody noted when it was written."""
        await txn.execute(
            "INSERT INTO own_newest_events (room_id, position) SELECT room_id, MAX(position) FROM events"
            " WHERE position > ? AND status = 0 AND substr(sender, length(sender) - ?) = ? GROUP BY room_id"
            " ON CONFLICT (room_id) DO UPDATE SET position = excluded.position",
            (after, len(domain), ":" + domain),
        )

    def set_own_newest(self, txn: Transaction, room_id: str, position: int) -> None:
        """The newest event of ours in a room."""
        txn.put(
            "INSERT INTO own_newest_events (room_id, position) VALUES (?, ?)"
            " ON CONFLICT (room_id) DO UPDATE SET position = excluded.position",
            room_id,
            (room_id, position),
        )

    async def list_own_newest(self, after: int, limit: int) -> list[tuple[str, int]]:
        """(room, position) of the newest event of ours in each room, after a position, oldest first."""
        rows = await self._db.fetch_all(
            "SELECT room_id, position FROM own_newest_events WHERE position > ? ORDER BY position LIMIT ?",
            (after, limit),
        )
        return [(row[0], row[1]) for row in rows]

    async def find_own_newest(self, room_ids: Sequence[str]) -> dict[str, int]:
        """The position of the newest event of ours, by room."""
        if not room_ids:
            return {}
        rows = await self._db.fetch_all(
            f"SELECT room_id, position FROM own_newest_events WHERE room_id IN ({', '.join('?' * len(room_ids))})",
            tuple(room_ids),
        )
        return {row[0]: row[1] for row in rows}

    def add_farewell(self, txn: Transaction, destination: str, room_id: str, position: int) -> None:
        """A server is to be told of an event although it is in the room no more."""
        txn.put(
            "INSERT INTO farewells (destination, position, room_id) VALUES (?, ?, ?)"
            " ON CONFLICT (destination, position) DO NOTHING",
            (destination, position),
            (destination, position, room_id),
        )

    async def list_farewells(self, destination: str, limit: int) -> list[tuple[str, int]]:
        """(room, position) of those events, oldest first."""
        rows = await self._db.fetch_all(
            "SELECT room_id, position FROM farewells WHERE destination = ? ORDER BY position LIMIT ?",
            (destination, limit),
        )
        return [(row[0], row[1]) for row in rows]

    async def remove_farewells(self, txn: Transaction, destination: str, up_to: int) -> None:
        await txn.execute("DELETE FROM farewells WHERE destination = ? AND position <= ?", (destination, up_to))

    # ---- transactions that came in

    async def find_answer(self, origin: str, txn_id: str) -> str | None:
        """What was answered to a transaction, as JSON."""
        found: str | None = await self._db.fetch_value(
            "SELECT answer FROM received_transactions WHERE origin = ? AND txn_id = ?", (origin, txn_id)
        )
        return found

    def add_answer(self, txn: Transaction, origin: str, txn_id: str, answer: str, now_ms: int) -> None:
        txn.add(
            "INSERT INTO received_transactions (origin, txn_id, answer, received_ts) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (origin, txn_id) DO NOTHING",
            (origin, txn_id, answer, now_ms),
        )

    async def remove_answers(self, txn: Transaction, before_ms: int) -> None:
        await txn.execute("DELETE FROM received_transactions WHERE received_ts < ?", (before_ms,))


def _destination(row: Row) -> Destination:
    return Destination(row[0], row[1], row[2], row[3], bool(row[4]), row[5], row[6])
