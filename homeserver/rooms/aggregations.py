"""Bundled aggregations: what is said of an event by those that relate to it (edits, threads, references).

Spec: Client-Server API, "Aggregations of child events", "Event replacements", "Threading", "Reference relations".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from homeserver.protocol.relations import REFERENCE, REPLACE, THREAD, is_valid_edit
from homeserver.rooms.client_events import EventSerializer, Reader
from homeserver.rooms.live_room import LiveRoom
from homeserver.storage.events import StoredEvent
from homeserver.storage.relations import RelatedEvent, RelationStore


class Aggregations:
    """Finds and serialises the bundled aggregations of events."""

    def __init__(self, store: RelationStore, serializer: EventSerializer) -> None:
        self._store = store
        self._serializer = serializer

    async def of_events(
        self,
        room: LiveRoom,
        events: Iterable[StoredEvent],
        reader: Reader,
        *,
        ignored: frozenset[str] = frozenset(),
        threads: bool = True,
    ) -> Mapping[str, dict[str, Any]]:
        """`m.relations` by event id, for those of `events` that have any. Relations by `ignored` users do not count."""
        asked = {
            stored.event_id: stored
            for stored in events
            if stored.has_relations is not False and stored.event.state_key is None and stored.redacted_because is None
        }
        if not asked:
            return {}
        ids = list(asked)
        found: dict[str, dict[str, Any]] = {}
        known: set[str] = set()
        for target, related in (await self._store.list_relations(ids, (REPLACE, REFERENCE))).items():
            known.add(target)
            await self._bundle_edit(
                room, asked[target], [row for row in related if row.relation == REPLACE], found, reader
            )
            references = [row for row in related if row.relation == REFERENCE and row.sender not in ignored]
            if references:
                found.setdefault(target, {})[REFERENCE] = {"chunk": [{"event_id": row.event_id} for row in references]}
        for target, summary in (await self._store.list_threads_of(ids, reader.user_id, ignored)).items():
            known.add(target)
            if not threads:
                continue
            latest = await self._store.find_event(room.room_id, room.version, summary.latest_event_id)
            if latest is None:
                continue
            within = await self.of_events(room, [latest], reader, ignored=ignored, threads=False)
            found.setdefault(target, {})[THREAD] = {
                "latest_event": self._serializer.serialize(latest, reader, relations=within.get(latest.event_id)),
                "count": summary.count,
                "current_user_participated": summary.participated or asked[target].event.sender == reader.user_id,
            }
        for event_id, stored in asked.items():
            if stored.has_relations is None:
                stored.has_relations = event_id in known
        return found

    async def _bundle_edit(
        self,
        room: LiveRoom,
        original: StoredEvent,
        edits: Sequence[RelatedEvent],
        found: dict[str, dict[str, Any]],
        reader: Reader,
    ) -> None:
        mine = [row for row in edits if row.sender == original.event.sender]
        for row in sorted(mine, key=lambda row: (row.origin_server_ts, row.event_id), reverse=True):
            edit = await self._store.find_event(room.room_id, room.version, row.event_id)
            if edit is not None and is_valid_edit(edit.event, original.event):
                found.setdefault(original.event_id, {})[REPLACE] = self._serializer.serialize(edit, reader)
                return
