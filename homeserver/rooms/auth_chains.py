"""Which events others stand on by their auth events, without reading the others: for rooms with much state.

State resolution asks of a few events whether the state that nobody disputes stands on them. The answer needs no more
than who names whom, which is kept in memory, and ends as soon as it is found.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from homeserver.protocol.events import Event
from homeserver.rooms.live_room import LiveRoom
from homeserver.storage.event_graph import EventGraphStore

KEPT: Final = 100_000
AT_A_TIME: Final = 500


class AuthChains:
    """Walks along auth events."""

    def __init__(self, graph: EventGraphStore) -> None:
        self._graph = graph
        self._kept: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    async def beneath(
        self, room: LiveRoom, wanted: Collection[str], roots: Iterable[str], unstored: Mapping[str, Event]
    ) -> set[str]:
        """Those of `wanted` that are in the auth chain of one of `roots`.

        `unstored`: events that are not in the database yet.
        """
        found: set[str] = set()
        seen = set(roots)
        waiting = list(seen)
        while waiting and len(found) < len(wanted):
            part, waiting = waiting[:AT_A_TIME], waiting[AT_A_TIME:]
            following: set[str] = set()
            for auth_ids in (await self._auth_ids(room, part, unstored)).values():
                following.update(auth_ids)
            found.update(event_id for event_id in following if event_id in wanted)
            following -= seen
            seen |= following
            waiting = [*following, *waiting]
        return found

    async def _auth_ids(
        self, room: LiveRoom, event_ids: Iterable[str], unstored: Mapping[str, Event]
    ) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        missing: list[str] = []
        for event_id in event_ids:
            kept = self._kept.get(event_id)
            if kept is not None:
                found[event_id] = kept
            elif event_id in unstored:
                found[event_id] = tuple(unstored[event_id].auth_events)
            else:
                missing.append(event_id)
        if missing:
            listed = await self._graph.list_auth_ids(room.room_id, missing)
            read = {event_id: tuple(map(sys.intern, auth_ids)) for event_id, auth_ids in listed.items()}
            found.update(read)
            self._kept.update(read)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found
