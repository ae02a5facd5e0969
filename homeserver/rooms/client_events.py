"""Events as clients see them: each is serialised once, however many clients receive it.

The body of an event is encoded once and kept on the stored event; only `unsigned`, which differs from one reader and
moment to the next, is composed anew. Spec: Client-Server API, "Room event format".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from homeserver.clock import Clock
from homeserver.protocol.events import Event
from homeserver.protocol.sticky_events import STICKY_FIELD, sticky_expiry
from homeserver.rooms.erasure import emptied
from homeserver.rooms.transactions import DELAYED, split_transaction_key
from homeserver.storage.events import StoredEvent

_encode = msgspec.json.Encoder().encode

DELAY_ID: Final = "org.matrix.msc4140.delay_id"


def client_event(event: Event, *, with_room_id: bool = True) -> dict[str, Any]:
    """The client form of an event as a dict, without `unsigned`."""
    body: dict[str, Any] = {
        "content": event.content,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
        "sender": event.sender,
        "type": event.type,
    }
    if event.state_key is not None:
        body["state_key"] = event.state_key
    if event.redacts is not None:
        # "For backwards-compatibility, servers add `redacts` at the top level and in `content` alike."
        body["redacts"] = event.redacts
        if "redacts" not in event.content:
            body["content"] = {**event.content, "redacts": event.redacts}
    if STICKY_FIELD in event.pdu:
        body[STICKY_FIELD] = event.pdu[STICKY_FIELD]
    if with_room_id:
        body["room_id"] = event.room_id
    return body


def stripped_state(event: Event) -> dict[str, Any]:
    """The stripped form, for people who are not in the room."""
    return {
        "content": event.content,
        "sender": event.sender,
        "state_key": event.state_key or "",
        "type": event.type,
    }


@dataclass(frozen=True, slots=True)
class Reader:
    """For whom an event is serialised. `membership`: the reader's membership when the event was sent, if known."""

    user_id: str
    device_id: str | None = None
    membership: str | None = None


class EventSerializer:
    """Serialises events for clients."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.hides: Callable[[StoredEvent, str | None], bool] = lambda stored, membership: False
        """Whether a reader with this membership at the time gets the event empty, since its sender was erased."""

    def serialize(
        self,
        stored: StoredEvent,
        reader: Reader,
        *,
        with_room_id: bool = True,
        relations: Mapping[str, Any] | None = None,
    ) -> msgspec.Raw:
        """JSON of one event. `relations`: the bundled aggregations, if there are any."""
        if self.hides(stored, reader.membership):
            stored, relations = emptied(stored), None
        body = stored.client_json
        if body is None:
            body = stored.client_json = _encode(client_event(stored.event, with_room_id=False))[:-1]
        room = b',"room_id":' + _encode(stored.event.room_id) if with_room_id else b""
        return msgspec.Raw(b"".join((body, room, b',"unsigned":', self._unsigned(stored, reader, relations), b"}")))

    def _unsigned(self, stored: StoredEvent, reader: Reader, relations: Mapping[str, Any] | None) -> bytes:
        event = stored.event
        age = max(0, self._clock.now_ms() - event.origin_server_ts)
        key = stored.transaction_key
        if (
            (key is None or event.sender != reader.user_id)
            and stored.replaces is None
            and stored.redacted_because is None
            and not relations
            and reader.membership in ("join", None)
            and STICKY_FIELD not in event.pdu
        ):
            if reader.membership is None:
                return b'{"age":%d}' % age
            return b'{"age":%d,"membership":"join"}' % age
        unsigned: dict[str, Any] = {"age": age}
        if reader.membership is not None:
            unsigned["membership"] = reader.membership
        if key is not None and event.sender == reader.user_id and reader.device_id is not None:
            device_id, event_type, txn_id = split_transaction_key(key)
            if device_id == reader.device_id:
                unsigned[DELAY_ID if event_type == DELAYED else "transaction_id"] = txn_id
        expires = sticky_expiry(event.pdu, event.origin_server_ts)
        if expires is not None and expires > self._clock.now_ms():
            unsigned["msc4354_sticky_duration_ttl_ms"] = expires - self._clock.now_ms()
        if stored.replaces is not None:
            unsigned["replaces_state"] = stored.replaces.event_id
            unsigned["prev_content"] = stored.replaces.content
            unsigned["prev_sender"] = stored.replaces.sender
        if stored.redacted_because is not None:
            unsigned["redacted_because"] = client_event(stored.redacted_because)
        if relations:
            unsigned["m.relations"] = relations
        return _encode(unsigned)
