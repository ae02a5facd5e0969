"""The graph of a room's events beyond its one line: states of branches, predecessors that are not known, and redactions
that came before what they redact."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from homeserver.storage.database import Reader, Transaction
from homeserver.storage.events import IN_ROOM
from homeserver.storage.rooms import StateKey

IN_A_QUERY = 500
MAX_HOPS = 50


@dataclass(frozen=True, slots=True)
class BranchState:
    """A state of a room: as the log of changes has it just after position `base`, except for `differences` (None:
    nothing is at that key). `group`: where it is stored, if it is."""

    base: int
    differences: Mapping[StateKey, str | None] = field(default_factory=dict)
    group: int | None = field(default=None, compare=False)
    grown: Grown | None = field(default=None, compare=False, repr=False)
    hops: int = field(default=0, compare=False)
    """How many states are to be read until one is whole, where it is stored as what it has grown from."""

    def plus(self, key: StateKey, event_id: str) -> BranchState:
        """This state with one more event."""
        differences = {**self.differences, key: event_id}
        if self.hops >= MAX_HOPS:
            return BranchState(self.base, differences)
        return BranchState(self.base, differences, grown=Grown(self, key, event_id), hops=self.hops + 1)


class Grown(NamedTuple):
    """A state, and the one event by which another differs from it."""

    parent: BranchState
    key: StateKey
    event_id: str


@dataclass(frozen=True, slots=True)
class GraphEvent:
    """What the graph needs to know of a stored event."""

    position: int
    event_id: str
    status: int
    state_group: int | None
    type: str
    state_key: str | None


class _AuthEvents(msgspec.Struct):
    auth_events: list[Any] = []


_decode_auth = msgspec.json.Decoder(_AuthEvents).decode


def _named(reference: Any) -> str:
    """The id that stands in a list of auth events: beside hashes, in room versions 1 and 2."""
    event_id: str = reference if isinstance(reference, str) else reference[0]
    return event_id


class EventGraphStore:
    """Tables of the graph. Every look-up names the room (B18, B19)."""

    def __init__(self, db: Reader) -> None:
        self._db = db

    async def find_graph_events(self, room_id: str, event_ids: Sequence[str]) -> dict[str, GraphEvent]:
        """Those of the events that this server has in this room, outliers included."""
        found: dict[str, GraphEvent] = {}
        for start in range(0, len(event_ids), IN_A_QUERY):
            part = event_ids[start : start + IN_A_QUERY]
            rows = await self._db.fetch_all(
                "SELECT position, event_id, status, state_group, type, state_key FROM events"
                f" WHERE event_id IN ({', '.join('?' * len(part))}) AND{IN_ROOM}",
                (*part, room_id),
            )
            found.update((row[1], GraphEvent(*row)) for row in rows)
        return found

    async def list_auth_ids(self, room_id: str, event_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """What these events name as their auth events, of those that this server has."""
        found: dict[str, tuple[str, ...]] = {}
        for start in range(0, len(event_ids), IN_A_QUERY):
            part = event_ids[start : start + IN_A_QUERY]
            rows = await self._db.fetch_all(
                f"SELECT event_id, json FROM events WHERE event_id IN ({', '.join('?' * len(part))}) AND room_id = ?",
                (*part, room_id),
            )
            found.update((event_id, tuple(map(_named, _decode_auth(text).auth_events))) for event_id, text in rows)
        return found

    async def get_branch_state(self, state_group: int) -> BranchState:
        rows = await self._db.fetch_all(
            "WITH RECURSIVE chain (base_position, differences, parent_group, hop) AS ("
            " SELECT base_position, differences, parent_group, 0 FROM branch_states WHERE state_group = ?"
            " UNION ALL SELECT b.base_position, b.differences, b.parent_group, c.hop + 1"
            " FROM branch_states AS b JOIN chain AS c ON b.state_group = c.parent_group"
            ") SELECT base_position, differences FROM chain ORDER BY hop DESC",
            (state_group,),
        )
        assert rows, "every group that an event names is stored"
        differences: dict[StateKey, str | None] = {}
        for row in rows:
            differences.update(((kind, key), event_id) for kind, key, event_id in json.loads(row[1]))
        return BranchState(rows[0][0], differences, group=state_group, hops=len(rows) - 1)

    def add_branch_state(
        self, txn: Transaction, room_id: str, state_group: int, state: BranchState, parent_group: int | None = None
    ) -> None:
        """Keep a state under a number, which is the position of the first event that it stands before. `parent_group`:
        where the state is stored that it has grown from, if it is."""
        differences = [[*key, event_id] for key, event_id in state.differences.items()]
        if parent_group is not None and state.grown is not None:
            differences = [[*state.grown.key, state.grown.event_id]]
        txn.add(
            "INSERT INTO branch_states (state_group, room_id, base_position, differences, parent_group)"
            " VALUES (?, ?, ?, ?, ?)",
            (state_group, room_id, state.base, json.dumps(differences), parent_group),
        )

    def add_unknown(self, txn: Transaction, room_id: str, event_id: str, unknown: Iterable[str]) -> None:
        """`event_id` names predecessors that this server has not."""
        for one in unknown:
            txn.add(
                "INSERT INTO unknown_events (room_id, event_id, named_by) VALUES (?, ?, ?)"
                " ON CONFLICT (room_id, event_id, named_by) DO NOTHING",
                (room_id, one, event_id),
            )

    def remove_unknown(self, txn: Transaction, room_id: str, event_id: str) -> None:
        """`event_id` is known now."""
        txn.add("DELETE FROM unknown_events WHERE room_id = ? AND event_id = ?", (room_id, event_id))

    async def list_unknown(self, room_id: str) -> list[tuple[str, str]]:
        """(a predecessor that is not known, the event that names it): where the history that we have ends."""
        rows = await self._db.fetch_all("SELECT event_id, named_by FROM unknown_events WHERE room_id = ?", (room_id,))
        return [(row[0], row[1]) for row in rows]

    def add_waiting_redaction(self, txn: Transaction, room_id: str, redacts: str, event_id: str) -> None:
        txn.add(
            "INSERT INTO waiting_redactions (room_id, redacts, event_id) VALUES (?, ?, ?)"
            " ON CONFLICT (room_id, redacts, event_id) DO NOTHING",
            (room_id, redacts, event_id),
        )

    async def list_awaited_by_redactions(self, room_id: str, event_ids: Sequence[str]) -> set[str]:
        """Those of the events whose redactions came before them."""
        found: set[str] = set()
        for start in range(0, len(event_ids), IN_A_QUERY):
            part = event_ids[start : start + IN_A_QUERY]
            rows = await self._db.fetch_all(
                f"SELECT redacts FROM waiting_redactions WHERE redacts IN ({', '.join('?' * len(part))})"
                " AND room_id = ?",
                (*part, room_id),
            )
            found.update(row[0] for row in rows)
        return found

    async def list_waiting_redactions(self, room_id: str, redacts: str) -> list[str]:
        """The redactions of an event that came before it."""
        rows = await self._db.fetch_all(
            "SELECT event_id FROM waiting_redactions WHERE room_id = ? AND redacts = ?", (room_id, redacts)
        )
        return [row[0] for row in rows]
