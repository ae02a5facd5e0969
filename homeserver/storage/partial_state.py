"""Rooms of whose state only a part is here yet, and the events that wait for the rest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from homeserver.storage.database import Database, Params, Transaction


@dataclass(frozen=True, slots=True)
class PartialState:
    """A join with a part of the state. `resident`: who let us in; `servers`: who is in the room, as it told.

    `base`: the position just before the join, where the log of the room's state begins anew. `begun_ms`: milliseconds.
    `whole_at`: the position from which on the whole state is known; None: it is still awaited.
    """

    room_id: str
    resident: str
    servers: frozenset[str]
    join_event_id: str
    base: int
    begun_ms: int
    whole_at: int | None = None


class PartialStateStore:
    """Both tables, and what the arrival of the whole state rewrites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @property
    def position(self) -> int:
        """The newest committed position of the stream."""
        return self._db.position

    async def list_all(self) -> list[PartialState]:
        """Every room that was ever joined so, those that are whole by now included."""
        rows = await self._db.fetch_all(
            "SELECT room_id, resident, servers, join_event_id, base_position, begun_ts, whole_position"
            " FROM partial_states"
        )
        return [PartialState(row[0], row[1], frozenset(json.loads(row[2])), *row[3:]) for row in rows]

    def set_partial(self, txn: Transaction, state: PartialState) -> None:
        """Begin, or end when `whole_at` is set."""
        txn.put(
            "INSERT INTO partial_states (room_id, resident, servers, join_event_id, base_position, begun_ts,"
            " whole_position) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (room_id) DO UPDATE SET"
            " resident = excluded.resident, servers = excluded.servers, join_event_id = excluded.join_event_id,"
            " base_position = excluded.base_position, begun_ts = excluded.begun_ts,"
            " whole_position = excluded.whole_position",
            state.room_id,
            (
                state.room_id,
                state.resident,
                json.dumps(sorted(state.servers)),
                state.join_event_id,
                state.base,
                state.begun_ms,
                state.whole_at,
            ),
        )

    async def abandon(self, txn: Transaction, state: PartialState) -> None:
        """The room was left; unless it was joined again meanwhile."""
        gone = await txn.execute(
            "DELETE FROM partial_states WHERE room_id = ? AND join_event_id = ?", (state.room_id, state.join_event_id)
        )
        if gone:
            await txn.execute("DELETE FROM waiting_events WHERE room_id = ?", (state.room_id,))

    def remove_partial(self, txn: Transaction, room_id: str) -> None:
        """The room was joined with its whole state."""
        txn.add("DELETE FROM partial_states WHERE room_id = ?", (room_id,))

    def add_waiting(self, txn: Transaction, room_id: str, event_id: str) -> None:
        txn.add(
            "INSERT INTO waiting_events (room_id, event_id) VALUES (?, ?) ON CONFLICT (room_id, event_id) DO NOTHING",
            (room_id, event_id),
        )

    def remove_waiting(self, txn: Transaction, room_id: str, event_id: str) -> None:
        txn.add("DELETE FROM waiting_events WHERE room_id = ? AND event_id = ?", (room_id, event_id))

    async def list_waiting(self, room_id: str) -> list[str]:
        """The events that wait, in the order in which they came."""
        rows = await self._db.fetch_all(
            "SELECT w.event_id FROM waiting_events AS w JOIN events AS e ON e.event_id = w.event_id"
            " WHERE w.room_id = ? ORDER BY e.position",
            (room_id,),
        )
        return [row[0] for row in rows]

    async def list_rooms_with_waiting(self) -> list[str]:
        rows = await self._db.fetch_all("SELECT DISTINCT room_id FROM waiting_events")
        return [row[0] for row in rows]

    # ---- when the whole state is here

    async def list_placed_ids(self, room_id: str, after: int) -> list[tuple[int, str]]:
        """(position, event id) of the room's events that have a place after a position, oldest first."""
        rows = await self._db.fetch_all(
            "SELECT position, event_id FROM events WHERE room_id = ? AND position > ? AND status NOT IN (3, 4)"
            " ORDER BY position",
            (room_id, after),
        )
        return [(row[0], row[1]) for row in rows]

    async def clear_log(self, txn: Transaction, room_id: str, start: int) -> None:
        """Forget the log of the room's state from a position on, and the states of branches that rest on it."""
        await txn.execute("DELETE FROM state_changes WHERE room_id = ? AND position >= ?", (room_id, start))
        await txn.execute("DELETE FROM branch_states WHERE room_id = ? AND state_group > ?", (room_id, start))

    async def add_to_log(
        self, txn: Transaction, room_id: str, rows: Iterable[tuple[int, str, str, str | None]]
    ) -> None:
        """(position, type, state key, event id) each."""
        written: list[Params] = [(room_id, kind, key, position, event_id) for position, kind, key, event_id in rows]
        await txn.execute_many(
            "INSERT INTO state_changes (room_id, type, state_key, position, event_id) VALUES (?, ?, ?, ?, ?)", written
        )

    async def set_current(
        self,
        txn: Transaction,
        room_id: str,
        changed: Iterable[tuple[str, str, str]],
        gone: Iterable[tuple[str, str]],
    ) -> None:
        """(type, state key, event id) that are the current state now; (type, state key) where nothing is any more."""
        await txn.execute_many(
            "DELETE FROM current_state WHERE room_id = ? AND type = ? AND state_key = ?",
            [(room_id, *key) for key in gone],
        )
        await txn.execute_many(
            "INSERT INTO current_state (room_id, type, state_key, event_id) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (room_id, type, state_key) DO UPDATE SET event_id = excluded.event_id",
            [(room_id, *one) for one in changed],
        )

    async def set_judgements(self, txn: Transaction, judged: Sequence[tuple[str, int, int | None, str | None]]) -> None:
        """(event id, status, state group, id of the event that it replaced) of events that were judged again."""
        await txn.execute_many(
            "UPDATE events SET status = ?, state_group = ?, replaces = ? WHERE event_id = ?",
            [(status, group, replaces, event_id) for event_id, status, group, replaces in judged],
        )
