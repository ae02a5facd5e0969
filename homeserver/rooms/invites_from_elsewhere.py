"""Invites, and knocks, of our users in rooms that this server is not in: a membership without a room."""

from __future__ import annotations

import json
from typing import Any

from homeserver.notifier import Notifier
from homeserver.protocol.events import Event
from homeserver.protocol.identifiers import is_user_id
from homeserver.rooms.client_events import stripped_state
from homeserver.rooms.live_room import membership_of
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rooms import Membership, RoomStore
from homeserver.stream import Change, Stream

STRIPPED_MAX = 100
STRIPPED_BYTES_MAX = 100_000


class InvitesFromElsewhere:
    """Keeps them."""

    def __init__(self, db: Database, store: RoomStore, stream: Stream, notifier: Notifier) -> None:
        self._db = db
        self._store = store
        self._stream = stream
        self._notifier = notifier

    async def add(self, event: Event, stripped: Any) -> None:
        """`event` invites a user of ours, or says that the user knocks; `stripped` is what its server told of the room,
        of which only what has the form of stripped state is kept (B14, B15); the event itself is the last of it."""
        user_id = event.key[1]
        told = [one for one in clean(stripped) if (one["type"], one["state_key"]) != event.key]
        own = {**stripped_state(event), "event_id": event.event_id, "origin_server_ts": event.origin_server_ts}
        text = json.dumps([*told, own])

        async def job(txn: Transaction) -> None:
            position = txn.next_position()
            self._store.set_membership(
                txn,
                Membership(event.room_id, user_id, membership_of(event), event.event_id, event.sender, position, False),
            )
            self._store.set_stripped_state(txn, event.room_id, user_id, text)
            txn.on_commit(lambda: self._stream.announce(Change.MEMBERSHIP, position, users=(user_id,)))

        await self._db.write(job)

    async def end(self, user_id: str, room_id: str) -> None:
        """The user has left a room that this server is not in."""

        async def job(txn: Transaction) -> None:
            position = txn.next_position()
            await self._store.end_membership(txn, room_id, user_id, position)
            txn.on_commit(lambda: self._stream.announce(Change.MEMBERSHIP, position, users=(user_id,)))

        await self._db.write(job)

    async def stripped_state(self, room_id: str, user_id: str) -> list[dict[str, Any]] | None:
        """What was told of the room; None when the user was not invited from elsewhere."""
        text = await self._store.find_stripped_state(room_id, user_id)
        if text is None:
            return None
        found: list[dict[str, Any]] = json.loads(text)
        return found


def clean(stripped: Any) -> list[dict[str, Any]]:
    """Stripped state with nothing in it that is not (B14): each entry has a type, a state key, a sender and content."""
    kept: list[dict[str, Any]] = []
    size = 0
    for one in stripped[:STRIPPED_MAX] if isinstance(stripped, list) else ():
        if not isinstance(one, dict) or not isinstance(one.get("content"), dict):
            continue
        entry = {name: one.get(name) for name in ("type", "state_key", "sender")}
        if not all(isinstance(value, str) and len(value) <= 255 and "\0" not in value for value in entry.values()):
            continue
        if not is_user_id(str(entry["sender"])):
            continue
        entry["content"] = one["content"]
        size += len(json.dumps(entry))
        if size > STRIPPED_BYTES_MAX:
            break
        kept.append(entry)
    return kept
