"""Which events relate to which: edits, reactions, references and threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from homeserver.protocol.room_versions import RoomVersion
from homeserver.storage.database import Reader
from homeserver.storage.events import IN_ROOM, EventStore, StoredEvent


@dataclass(frozen=True, slots=True)
class RelatedEvent:
    """An accepted event that relates to another."""

    event_id: str
    relation: str
    sender: str
    type: str
    origin_server_ts: int
    position: int


@dataclass(frozen=True, slots=True)
class ThreadSummary:
    """A thread: how many answers, the newest of them, and whether the reader wrote one."""

    root_id: str
    count: int
    latest_event_id: str
    latest_position: int
    participated: bool


class RelationStore:
    """Queries over `events.relates_to`."""

    def __init__(self, db: Reader, events: EventStore) -> None:
        self._db = db
        self._events = events

    async def find_event(self, room_id: str, version: RoomVersion, event_id: str) -> StoredEvent | None:
        """One accepted event of a room."""
        for stored in await self._events.find_events(room_id, version, [event_id]):
            if stored.status == 0:
                return stored
        return None

    async def list_relations(self, event_ids: Sequence[str], relations: Sequence[str]) -> dict[str, list[RelatedEvent]]:
        """The events that relate to these, by the relations named, oldest first."""
        found: dict[str, list[RelatedEvent]] = {}
        for start in range(0, len(event_ids), 500):
            part = event_ids[start : start + 500]
            rows = await self._db.fetch_all(
                "SELECT relates_to, event_id, relation, sender, type, origin_server_ts, position FROM events"
                f" WHERE relates_to IN ({', '.join('?' * len(part))})"
                f" AND relation IN ({', '.join('?' * len(relations))}) AND status = 0 ORDER BY position",
                (*part, *relations),
            )
            for row in rows:
                found.setdefault(row[0], []).append(RelatedEvent(*row[1:]))
        return found

    async def list_children(self, event_id: str) -> list[tuple[str, str]]:
        """(relation, sender) of every accepted event that relates to one event."""
        rows = await self._db.fetch_all(
            "SELECT DISTINCT relation, sender FROM events WHERE relates_to = ? AND status = 0", (event_id,)
        )
        return [(row[0], row[1]) for row in rows]

    async def list_threads_of(
        self, root_ids: Sequence[str], user_id: str, ignored: Iterable[str] = ()
    ) -> dict[str, ThreadSummary]:
        """The threads that begin at these events."""
        found: dict[str, ThreadSummary] = {}
        hidden = tuple(ignored)
        without = f" AND sender NOT IN ({', '.join('?' * len(hidden))})" if hidden else ""
        for start in range(0, len(root_ids), 500):
            part = root_ids[start : start + 500]
            rows = await self._db.fetch_all(
                "SELECT t.relates_to, t.answers, t.newest, t.own, e.event_id FROM ("
                " SELECT relates_to, COUNT(*) AS answers, MAX(position) AS newest,"
                " MAX(CASE WHEN sender = ? THEN 1 ELSE 0 END) AS own FROM events"
                f" WHERE relates_to IN ({', '.join('?' * len(part))}) AND relation = 'm.thread' AND status = 0{without}"
                " GROUP BY relates_to) AS t JOIN events AS e ON e.position = t.newest",
                (user_id, *part, *hidden),
            )
            for row in rows:
                found[row[0]] = ThreadSummary(row[0], row[1], row[4], row[2], bool(row[3]))
        return found

    async def list_thread_roots(
        self, room_id: str, *, before: int | None, limit: int, participant: str | None = None
    ) -> list[tuple[str, int]]:
        """(root event id, position of its newest answer) of a room's threads, the most recently answered first."""
        wrote = "MAX(CASE WHEN {}.sender = ? THEN 1 ELSE 0 END) = 1"
        own = "" if participant is None else f" AND ({wrote.format('e')} OR {wrote.format('r')})"
        place = "" if before is None else " AND MAX(e.position) < ?"
        rows = await self._db.fetch_all(
            "SELECT e.relates_to, MAX(e.position) AS newest FROM events AS e JOIN events AS r"
            " ON r.event_id = e.relates_to AND r.room_id = e.room_id AND r.status = 0"
            " WHERE e.room_id = ? AND e.relation = 'm.thread' AND e.status = 0"
            f" GROUP BY e.relates_to HAVING 1 = 1{own}{place} ORDER BY newest DESC LIMIT ?",
            (
                room_id,
                *(() if participant is None else (participant, participant)),
                *(() if before is None else (before,)),
                limit,
            ),
        )
        return [(row[0], row[1]) for row in rows]

    async def list_related(
        self,
        room_id: str,
        version: RoomVersion,
        event_id: str,
        *,
        relation: str | None,
        event_type: str | None,
        after: int | None,
        before: int | None,
        limit: int,
        newest_first: bool,
    ) -> list[StoredEvent]:
        """Accepted events of the room that relate to one event, page by page (after < position < before)."""
        conditions, params = ["room_id = ?", "relates_to = ?", "status = 0"], [room_id, event_id]
        bounds: list[int] = []
        for condition, text in (("relation = ?", relation), ("type = ?", event_type)):
            if text is not None:
                conditions.append(condition)
                params.append(text)
        for condition, place in (("position > ?", after), ("position < ?", before)):
            if place is not None:
                conditions.append(condition)
                bounds.append(place)
        rows = await self._db.fetch_all(
            f"SELECT event_id FROM events WHERE {' AND '.join(conditions)}"
            f" ORDER BY position {'DESC' if newest_first else 'ASC'} LIMIT ?",
            (*params, *bounds, limit),
        )
        found = await self._events.find_events(room_id, version, [row[0] for row in rows])
        return sorted(found, key=lambda stored: stored.position, reverse=newest_first)

    async def list_child_ids(
        self, room_id: str, event_ids: Sequence[str], *, limit: int
    ) -> list[tuple[str, str, str, int]]:
        """(event id, relation, type, position) of the accepted events of a room that relate to any of these."""
        found: list[tuple[str, str, str, int]] = []
        for start in range(0, len(event_ids), 500):
            part = event_ids[start : start + 500]
            rows = await self._db.fetch_all(
                "SELECT event_id, relation, type, position FROM events WHERE"
                f" relates_to IN ({', '.join('?' * len(part))}) AND{IN_ROOM} AND status = 0"
                " ORDER BY position LIMIT ?",
                (*part, room_id, limit),
            )
            found += [(row[0], row[1], row[2], row[3]) for row in rows]
        return found[:limit]
