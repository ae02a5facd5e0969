"""Events that are looked up by their ids are found by them, and not by a walk through their room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from homeserver.protocol.room_versions import ROOM_VERSIONS
from homeserver.storage.database import Params, Row
from homeserver.storage.event_graph import EventGraphStore
from homeserver.storage.events import EventStore
from homeserver.storage.relations import RelationStore
from tests.support.databases import open_in_memory

IDS = [f"${number}" for number in range(40)]
LOOK_UPS: dict[str, Callable[[Any, Sequence[str]], Awaitable[object]]] = {
    "events": lambda db, ids: EventStore(db).find_events("!r:x", ROOM_VERSIONS["11"], ids),
    "graph": lambda db, ids: EventGraphStore(db).find_graph_events("!r:x", ids),
    "relations": lambda db, ids: RelationStore(db, EventStore(db)).list_child_ids("!r:x", ids, limit=5),
}


class _Reading:
    """Keeps what is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Params]] = []

    async def fetch_all(self, sql: str, params: Params = ()) -> list[Row]:
        self.asked.append((sql, params))
        return []


@pytest.mark.parametrize("count", [1, 2, 5, 40])
@pytest.mark.parametrize("look_up", LOOK_UPS.values(), ids=LOOK_UPS.keys())
async def test_events_are_found_by_their_ids_in_a_room_of_any_size(
    look_up: Callable[[Any, Sequence[str]], Awaitable[object]], count: int
) -> None:
    reading = _Reading()
    await look_up(reading, IDS[:count])
    db = open_in_memory()
    for sql, params in reading.asked:
        plan = [row[3] for row in await db.fetch_all(f"EXPLAIN QUERY PLAN {sql}", params)]
        assert "events_by_room" not in str(plan), plan
        assert "SCAN" not in str(plan), plan
    await db.close()
