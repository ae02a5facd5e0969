"""Other servers as destinations: how far each was told of the stream, and when it may be asked again."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class Destination:
    """`failures` in a row; nobody asks before `retry_at_ts` (milliseconds). Told of all up to `sent_position`, in
    transactions numbered up to `txn_number`."""

    server_name: str
    failures: int = 0
    retry_at_ts: int = 0
    sent_position: int = 0
    txn_number: int = 0


class DestinationStore:
    """The table `destinations`, and the answers to transactions that came in."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list_destinations(self) -> list[Destination]:
        rows = await self._db.fetch_all(
            "SELECT server_name, failures, retry_at_ts, sent_position, txn_number FROM destinations"
        )
        return [Destination(*row) for row in rows]

    def set_destination(self, txn: Transaction, destination: Destination) -> None:
        txn.put(
            "INSERT INTO destinations (server_name, failures, retry_at_ts, sent_position, txn_number)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (server_name) DO UPDATE SET failures = excluded.failures,"
            " retry_at_ts = excluded.retry_at_ts, sent_position = excluded.sent_position,"
            " txn_number = excluded.txn_number",
            destination.server_name,
            (
                destination.server_name,
                destination.failures,
                destination.retry_at_ts,
                destination.sent_position,
                destination.txn_number,
            ),
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

    def add_edu(self, txn: Transaction, destination: str, edu: str) -> None:
        """An EDU (as JSON) that waits for a server until it was taken there."""
        txn.add(
            "INSERT INTO outgoing_edus (destination, number, edu) VALUES (?, ?, ?)",
            (destination, txn.next_position(), edu),
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

    async def list_newest_own_events(self, domain: str, after: int) -> list[tuple[str, int]]:
        """(room, position) of the newest event of each room that a user of this server sent after a position."""
        rows = await self._db.fetch_all(
            "SELECT room_id, MAX(position) FROM events WHERE position > ? AND status = 0 AND sender LIKE ?"
            " GROUP BY room_id ORDER BY 2",
            (after, f"%:{domain}"),
        )
        return [(row[0], row[1]) for row in rows]

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
