"""Keeps the full-text index: a reader of the stream with a stored place of its own, so that no sender waits for it.

Indexed are messages, names and topics of rooms; of an edited message, what is shown. Spec: "Server-side Search".
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from homeserver.clock import Clock
from homeserver.protocol.errors import Unavailable
from homeserver.protocol.relations import REPLACE, edit_order, edited_content, is_valid_edit, relation_of
from homeserver.protocol.search_tokens import index_terms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import ACCEPTED, EventStore, StoredEvent
from homeserver.storage.relations import RelationStore
from homeserver.storage.search import IndexedEvent, SearchStore
from homeserver.stream import Change, Stream

BATCH: Final = 200
BACKGROUND_BATCH: Final = 20
BACKGROUND_PAUSE: Final = 6.0
"""After each batch beside the requests, a pause this many times as long: messages are sent through the same writer."""
DELAY_SECONDS: Final = 5.0
"""How long what is new may wait, so that it is indexed many at a time; a search waits for nothing, it catches up."""

KEYS: Final = {
    "m.room.message": ("content.body", "body"),
    "m.room.name": ("content.name", "name"),
    "m.room.topic": ("content.topic", "topic"),
}
_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")

_log = logging.getLogger("homeserver.rooms")


@lru_cache(maxsize=20_000)
def hashed_term(secret: str, term: str) -> str:
    """A word as the index knows it: twelve letters, 48 bits, meaningless without the secret."""
    digest = hashlib.blake2b(term.encode(), digest_size=6, key=bytes.fromhex(secret)).hexdigest()
    return digest.translate(_LETTERS)


class SearchIndex:
    """Reads the stream into the index."""

    def __init__(
        self,
        *,
        db: Database,
        store: SearchStore,
        events: EventStore,
        relations: RelationStore,
        stream: Stream,
        clock: Clock,
    ) -> None:
        self._db = db
        self._store = store
        self._events = events
        self._relations = relations
        self._stream = stream
        self._clock = clock
        self._lock = asyncio.Lock()
        self._moved = asyncio.Event()
        self._secret = ""
        self._place = -1
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to index beside the requests."""
        self._stream.listen(self._changed)
        self._task = asyncio.create_task(self._run(), name="search index")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def catch_up(self) -> str:
        """Index everything that is committed now; returns the secret of the index."""
        goal = self._db.position
        async with self._lock:
            while self._place < goal:
                await self._step()
        return self._secret

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is Change.EVENTS:
            self._moved.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except Unavailable as error:
                _log.warning("the search index waits for the database: %s", error)
                self._moved.set()
            except Exception:
                _log.exception("the search index could not follow the stream; trying again with the next event")
            await self._moved.wait()
            self._moved.clear()
            await self._clock.sleep(DELAY_SECONDS)

    async def _follow(self) -> None:
        """As `catch_up`, but little by little, so that nobody who writes has to wait for it."""
        goal = self._db.position
        while True:
            started = self._clock.monotonic()
            async with self._lock:
                if self._place < goal:
                    await self._step(BACKGROUND_BATCH)
            if self._place >= goal:
                return
            await self._clock.sleep(BACKGROUND_PAUSE * (self._clock.monotonic() - started) + 0.001)

    async def _step(self, size: int = BATCH) -> None:
        """Index the next events of the stream, at most `size`."""
        found = await self._store.find_place()
        if found is None:
            found = await self._db.write(self._store.start)
        place, self._secret = found
        self._place = place
        up_to = self._db.position
        batch = await self._events.list_stream(place, up_to, size)
        if len(batch) == size:
            up_to = batch[-1].position
        if up_to <= place:
            return
        removed: list[str] = []
        changed: dict[str, StoredEvent] = {}
        for stored in batch:
            await self._note(stored, removed, changed)
        entries = [await self._entry(stored) for stored in changed.values()]

        async def job(txn: Transaction) -> bool:
            if not await self._store.move_place(txn, place, up_to):
                return False  # another process has indexed these
            for event_id in removed:
                await self._store.remove_event(txn, event_id)
            for event_id, entry in zip(changed, entries, strict=True):
                if entry is None:
                    await self._store.remove_event(txn, event_id)
                else:
                    await self._store.set_event(txn, entry)
            return True

        if await self._db.write(job):
            self._place = up_to

    async def _note(self, stored: StoredEvent, removed: list[str], changed: dict[str, StoredEvent]) -> None:
        """What one event of the stream means for the index."""
        event = stored.event
        if event.type == "m.room.redaction":
            target = event.redacts or event.content.get("redacts")
            if isinstance(target, str):
                removed.append(target)
                edited = await self._store.find_edited(target)
                original = None if edited is None else await self._find(stored, edited)
                if original is not None:
                    changed[original.event_id] = original
        elif event.type in KEYS:
            relation = relation_of(event.content)
            if relation.rel_type == REPLACE and relation.event_id is not None:
                original = await self._find(stored, relation.event_id)
                if original is not None and is_valid_edit(event, original.event):
                    changed[original.event_id] = original
            else:
                changed[stored.event_id] = stored

    async def _entry(self, stored: StoredEvent) -> IndexedEvent | None:
        """The event as the index shall hold it; None when there is nothing to find."""
        event = stored.event
        if event.type not in KEYS or stored.redacted_because is not None:
            return None
        key, member = KEYS[event.type]
        content, edit_id = event.content, None
        edit = await self._newest_edit(stored)
        if edit is not None:
            content, edit_id = edited_content(content, edit.event.content), edit.event_id
        text = content.get(member)
        terms = index_terms(text) if isinstance(text, str) else []
        if not terms and edit_id is None:
            return None
        return IndexedEvent(
            stored.position,
            event.event_id,
            event.room_id,
            event.sender,
            key,
            edit_id,
            " ".join(hashed_term(self._secret, term) for term in terms),
        )

    async def _newest_edit(self, stored: StoredEvent) -> StoredEvent | None:
        if stored.event.state_key is not None:
            return None
        rows = (await self._relations.list_relations([stored.event_id], (REPLACE,))).get(stored.event_id, [])
        mine = [row.event_id for row in rows if row.sender == stored.event.sender]
        if not mine:
            return None
        version = stored.event.room_version
        edits = [
            edit
            for edit in await self._events.find_events(stored.event.room_id, version, mine)
            if edit.status == ACCEPTED and is_valid_edit(edit.event, stored.event)
        ]
        return max(edits, key=lambda edit: edit_order(edit.event), default=None)

    async def _find(self, beside: StoredEvent, event_id: str) -> StoredEvent | None:
        """An accepted event of the same room."""
        version = beside.event.room_version
        for found in await self._events.find_events(beside.event.room_id, version, [event_id]):
            if found.status == ACCEPTED:
                return found
        return None


def hashed_groups(secret: str, groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """The groups of a query as the index knows their words."""
    return [[hashed_term(secret, term) for term in group] for group in groups]
