"""Events as they are stored, and the queries over them. Every look-up of an event names its room too (G08, B19)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from homeserver.protocol.events import Event
from homeserver.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.storage.database import Reader, Row, Transaction

ACCEPTED: Final = 0
SOFT_FAILED: Final = 1
REJECTED: Final = 2
OUTLIER: Final = 3
REJECTED_OUTLIER: Final = 4
"""Rejected by its auth events, before anything else of it was known. Rejection is for good (A07)."""

UNKNOWN_STATE: Final = -1
"""As `state_group`: what the state before the event was is not known here."""

WITHOUT_A_PLACE: Final = frozenset({OUTLIER, REJECTED_OUTLIER})
FOR_GOOD_REJECTED: Final = frozenset({REJECTED, REJECTED_OUTLIER})

_decode = msgspec.json.Decoder().decode

IN_ROOM: Final = " room_id || '' = ?"
"""The condition that events, found by their ids, are in a room. It is written such that no index serves it: SQLite
would rather walk through the whole room than look five ids up."""


class StoredEvent:
    """An event with what the server knows of it.

    `position`: its place in the stream. `replaces`: the state event whose place it took. `redacted_because`: the
    redaction that emptied it. `transaction_key`: `device/type/txn_id` of the local request that sent it.
    `client_json`: the ready client form without `unsigned`, kept by the serializer. `has_relations`: whether other
    events are known to relate to it (None: not looked up yet).
    """

    __slots__ = (
        "client_json",
        "event",
        "has_relations",
        "position",
        "redacted_because",
        "replaces",
        "status",
        "transaction_key",
    )

    def __init__(
        self,
        event: Event,
        position: int,
        *,
        status: int = ACCEPTED,
        replaces: Event | None = None,
        redacted_because: Event | None = None,
        transaction_key: str | None = None,
        has_relations: bool | None = None,
    ) -> None:
        self.event = event
        self.position = position
        self.status = status
        self.replaces = replaces
        self.redacted_because = redacted_because
        self.transaction_key = transaction_key
        self.has_relations = has_relations
        self.client_json: bytes | None = None

    @property
    def event_id(self) -> str:
        return self.event.event_id

    def __repr__(self) -> str:
        return f"<StoredEvent {self.event.event_id} {self.event.type} at {self.position}>"


_COLUMNS = (
    "e.position, e.event_id, e.status, e.json, e.transaction_key, p.event_id, p.json, r.event_id, r.json"
    " FROM events AS e LEFT JOIN events AS p ON p.event_id = e.replaces"
    " LEFT JOIN events AS r ON r.event_id = e.redacted_by"
)
_INSERT = (
    "INSERT INTO events (position, event_id, room_id, type, state_key, sender, depth, origin_server_ts, status,"
    " state_group, replaces, relates_to, relation, transaction_key, redacted_by, json)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _stored(row: Row, version: RoomVersion) -> StoredEvent:
    position, event_id, status, text, transaction_key, replaces_id, replaces, redaction_id, redaction = row
    return StoredEvent(
        Event(_decode(text), version, event_id),
        position,
        status=status,
        replaces=None if replaces is None else Event(_decode(replaces), version, replaces_id),
        redacted_because=None if redaction is None else Event(_decode(redaction), version, redaction_id),
        transaction_key=transaction_key,
    )


class EventStore:
    """Events by room, position, id and relation. `version` is the room's own, from its create event (A14)."""

    def __init__(self, db: Reader) -> None:
        self._db = db

    def add_event(
        self,
        txn: Transaction,
        stored: StoredEvent,
        text: str,
        *,
        state_group: int | None = None,
        relates_to: str | None = None,
        relation: str | None = None,
    ) -> None:
        """Write an event whose canonical JSON is `text` (deferred to the end of the batch)."""
        event = stored.event
        txn.add(
            _INSERT,
            (
                stored.position,
                event.event_id,
                event.room_id,
                event.type,
                event.state_key,
                event.sender,
                event.depth,
                event.origin_server_ts,
                stored.status,
                state_group,
                None if stored.replaces is None else stored.replaces.event_id,
                relates_to,
                relation,
                stored.transaction_key,
                None if stored.redacted_because is None else stored.redacted_because.event_id,
                text,
            ),
        )

    async def find_first_position(self, txn: Transaction) -> int:
        """The lowest position that any event has, at most 0: history goes before it."""
        found: int | None = await txn.fetch_value("SELECT MIN(position) FROM events")
        return min(found or 0, 0)

    async def remove_outlier(self, txn: Transaction, event_id: str) -> None:
        """An event that was known outside the timeline is about to be written with its place."""
        await txn.execute("DELETE FROM events WHERE event_id = ? AND status IN (3, 4)", (event_id,))

    async def set_redacted(self, txn: Transaction, event_id: str, redacted_pdu: str, redacted_by: str) -> None:
        """Replace an event's JSON by its redacted form; what it said is gone from the database (G04)."""
        await txn.execute(
            "UPDATE events SET json = ?, redacted_by = ?, relates_to = NULL, relation = NULL WHERE event_id = ?",
            (redacted_pdu, redacted_by, event_id),
        )

    async def find_events(self, room_id: str, version: RoomVersion, event_ids: Sequence[str]) -> list[StoredEvent]:
        """The events of `room_id` among these ids, in no particular order, whatever their status."""
        found: list[StoredEvent] = []
        for start in range(0, len(event_ids), 500):
            part = event_ids[start : start + 500]
            marks = ", ".join("?" * len(part))
            rows = await self._db.fetch_all(
                f"SELECT {_COLUMNS} WHERE e.event_id IN ({marks}) AND e.room_id || '' = ?",  # IN_ROOM
                (*part, room_id),
            )
            found += [_stored(row, version) for row in rows]
        return found

    async def list_current_state(
        self, room_id: str, version: RoomVersion, *, members: bool = True
    ) -> list[StoredEvent]:
        """The events of the room's current state; `members=False` leaves m.room.member out."""
        condition = "" if members else " AND c.type <> 'm.room.member'"
        rows = await self._db.fetch_all(
            f"SELECT {_COLUMNS} JOIN current_state AS c ON c.event_id = e.event_id WHERE c.room_id = ?{condition}",
            (room_id,),
        )
        return [_stored(row, version) for row in rows]

    async def list_timeline(
        self,
        room_id: str,
        version: RoomVersion,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int,
        newest_first: bool,
        event_type: str | None = None,
    ) -> list[StoredEvent]:
        """Accepted events with after < position < before, at most `limit`, from the new end or from the old."""
        conditions, params = ["e.room_id = ?", "e.status = 0"], [room_id]
        bounds: list[Any] = []
        if after is not None:
            conditions.append("e.position > ?")
            bounds.append(after)
        if before is not None:
            conditions.append("e.position < ?")
            bounds.append(before)
        if event_type is not None:
            conditions.append("e.type = ?")
            bounds.append(event_type)
        order = "DESC" if newest_first else "ASC"
        rows = await self._db.fetch_all(
            f"SELECT {_COLUMNS} WHERE {' AND '.join(conditions)} ORDER BY e.position {order} LIMIT ?",
            (*params, *bounds, limit),
        )
        return [_stored(row, version) for row in rows]

    async def list_stream(self, after: int, up_to: int, limit: int) -> list[StoredEvent]:
        """Accepted events of all rooms with after < position <= up_to, oldest first."""
        rows = await self._db.fetch_all(
            f"SELECT o.version, {_COLUMNS} JOIN rooms AS o ON o.room_id = e.room_id"
            " WHERE e.position > ? AND e.position <= ? AND e.status = 0 ORDER BY e.position LIMIT ?",
            (after, up_to, limit),
        )
        return [_stored(row[1:], ROOM_VERSIONS[row[0]]) for row in rows]

    async def find_room_id(self, event_id: str) -> str | None:
        """The room of an accepted event, for `GET /events/{eventId}` alone, whose path names none."""
        found: str | None = await self._db.fetch_value(
            "SELECT room_id FROM events WHERE event_id = ? AND status = 0", (event_id,)
        )
        return found

    async def find_room_id_of_any(self, event_id: str) -> str | None:
        """The room of an event, whatever was found of it, for other servers' `GET /event/{eventId}` alone."""
        found: str | None = await self._db.fetch_value("SELECT room_id FROM events WHERE event_id = ?", (event_id,))
        return found

    async def find_by_transaction(self, sender: str, room_id: str, transaction_key: str) -> str | None:
        """The id of the event that this transaction made, if it did."""
        found: str | None = await self._db.fetch_value(
            "SELECT event_id FROM events WHERE sender = ? AND room_id = ? AND transaction_key = ?",
            (sender, room_id, transaction_key),
        )
        return found

    async def has_transactions(self, sender: str, device_id: str, separator: str) -> bool:
        """Whether a device has ever sent an event with a transaction id."""
        prefix = device_id + separator
        found = await self._db.fetch_value(
            "SELECT 1 FROM events WHERE sender = ? AND transaction_key IS NOT NULL"
            " AND substr(transaction_key, 1, ?) = ? LIMIT 1",
            (sender, len(prefix), prefix),
        )
        return found is not None

    async def list_nearest(
        self, room_id: str, timestamp_ms: int, *, forward: bool, limit: int
    ) -> list[tuple[str, int]]:
        """(event_id, origin_server_ts) of the accepted events at or after a time, or at or before it, nearest first."""
        comparison, order = (">=", "ASC") if forward else ("<=", "DESC")
        rows = await self._db.fetch_all(
            "SELECT event_id, origin_server_ts FROM events WHERE room_id = ? AND status = 0"
            f" AND origin_server_ts {comparison} ? ORDER BY origin_server_ts {order}, position {order} LIMIT ?",
            (room_id, timestamp_ms, limit),
        )
        return [(row[0], row[1]) for row in rows]
