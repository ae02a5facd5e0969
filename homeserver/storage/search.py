"""The full-text index of events: FTS5 on SQLite, tsvector on PostgreSQL. The one place where the two differ in SQL."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from homeserver.protocol.search_tokens import fts5_query, tsquery
from homeserver.storage.database import Database, Transaction

_INSERT_TERMS: Final = {
    "sqlite": "INSERT INTO search_terms (rowid, terms) VALUES (?, ?)",
    "postgresql": "INSERT INTO search_terms (position, terms) VALUES (?, to_tsvector('simple', ?))",
}
_DELETE_TERMS: Final = {
    "sqlite": "DELETE FROM search_terms WHERE rowid = ?",
    "postgresql": "DELETE FROM search_terms WHERE position = ?",
}
_MATCHING: Final = {
    "sqlite": (
        "SELECT e.position, e.event_id, e.room_id, e.sender, -bm25(search_terms) FROM search_terms"
        " JOIN search_events AS e ON e.position = search_terms.rowid WHERE search_terms MATCH ?"
    ),
    "postgresql": (
        "SELECT e.position, e.event_id, e.room_id, e.sender, ts_rank_cd(t.terms, q.query)"
        " FROM (SELECT to_tsquery('simple', CAST(? AS TEXT)) AS query) AS q"
        " JOIN search_terms AS t ON t.terms @@ q.query JOIN search_events AS e ON e.position = t.position WHERE 1 = 1"
    ),
}
_PLACE: Final = {"sqlite": "search_terms.rowid", "postgresql": "e.position"}
MAX_ROOMS: Final = 10_000


@dataclass(frozen=True, slots=True)
class IndexedEvent:
    """An event as the index holds it: `terms` separated by spaces, `key` the member that was indexed."""

    position: int
    event_id: str
    room_id: str
    sender: str
    key: str
    edit_id: str | None
    terms: str


@dataclass(frozen=True, slots=True)
class Match:
    """An event that matches; a higher `rank` matches better."""

    position: int
    event_id: str
    room_id: str
    sender: str
    rank: float


class SearchStore:
    """The tables of the index."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_place(self) -> tuple[int, str] | None:
        """(how far the stream is indexed, the secret by which words are hashed); None before the first time."""
        row = await self._db.fetch_one("SELECT position, secret FROM search_place")
        return None if row is None else (row[0], row[1])

    async def start(self, txn: Transaction) -> tuple[int, str]:
        """Begin an index, if nobody has; its place and secret."""
        await txn.execute(
            "INSERT INTO search_place (one, position, secret) VALUES (1, 0, ?) ON CONFLICT (one) DO NOTHING",
            (secrets.token_hex(32),),
        )
        row = await txn.fetch_one("SELECT position, secret FROM search_place")
        assert row is not None
        return row[0], row[1]

    async def move_place(self, txn: Transaction, before: int, after: int) -> bool:
        """Go on from `before` to `after`; False when another process did already."""
        return bool(await txn.execute("UPDATE search_place SET position = ? WHERE position = ?", (after, before)))

    async def set_event(self, txn: Transaction, event: IndexedEvent) -> None:
        """Index an event, in place of what was indexed of it before."""
        await self.remove_event(txn, event.event_id)
        await txn.execute(
            "INSERT INTO search_events (position, event_id, room_id, sender, search_key, edit_id)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (event.position, event.event_id, event.room_id, event.sender, event.key, event.edit_id),
        )
        await txn.execute(_INSERT_TERMS[self._db.dialect], (event.position, event.terms))

    async def remove_event(self, txn: Transaction, event_id: str) -> None:
        """Forget an event (G04)."""
        position = await txn.fetch_value("SELECT position FROM search_events WHERE event_id = ?", (event_id,))
        if position is not None:
            await txn.execute(_DELETE_TERMS[self._db.dialect], (position,))
            await txn.execute("DELETE FROM search_events WHERE position = ?", (position,))

    async def find_edited(self, edit_id: str) -> str | None:
        """The event that is indexed by the content of this edit."""
        found: str | None = await self._db.fetch_value(
            "SELECT event_id FROM search_events WHERE edit_id = ?", (edit_id,)
        )
        return found

    async def list_matches(
        self,
        groups: Sequence[Sequence[str]],
        room_ids: Sequence[str],
        keys: Sequence[str],
        *,
        before: int | None,
        sender: str | None = None,
        limit: int,
    ) -> list[Match]:
        """The newest events that match every group of hashed words, in these rooms; see `protocol/search_tokens.py`."""
        rooms = tuple(room_ids[:MAX_ROOMS])
        if not rooms or not keys or not groups:
            return []
        bounds: list[Any] = []
        place = by_sender = ""
        if before is not None:
            place = f" AND {_PLACE[self._db.dialect]} < ?"
            bounds.append(before)
        if sender is not None:
            by_sender = " AND e.sender = ?"
            bounds.append(sender)
        query = fts5_query(groups) if self._db.dialect == "sqlite" else tsquery(groups)
        rows = await self._db.fetch_all(
            f"{_MATCHING[self._db.dialect]} AND e.room_id IN ({', '.join('?' * len(rooms))})"
            f" AND e.search_key IN ({', '.join('?' * len(keys))}){place}{by_sender}"
            f" ORDER BY {_PLACE[self._db.dialect]} DESC LIMIT ?",
            (query, *rooms, *keys, *bounds, limit),
        )
        return [Match(row[0], row[1], row[2], row[3], float(row[4])) for row in rows]
