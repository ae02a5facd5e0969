"""An event of a room, in the shape the rest of the server uses, whatever the room version.

Thousands are made a second, so this is a plain class with slots: the constructor copies references and checks nothing.
What came from outside goes through `event_format.parse_event` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from homeserver.protocol.hashes import event_id_of
from homeserver.protocol.identifiers import EventId, RoomId, UserId
from homeserver.protocol.room_versions import RoomVersion

if TYPE_CHECKING:
    from homeserver.protocol.power_levels import PowerLevels

StateKey: TypeAlias = tuple[str, str]
"""An entry of the state of a room: (event type, state key)."""


class Event:
    """One event, immutable by convention: nobody writes to it, or into its `pdu`, after it is made.

    `pdu` is the whole signed JSON object as it goes over federation, without `unsigned`. `prev_events` and
    `auth_events` are ids, also in v1 and v2 where the PDU has pairs of id and hashes. `redacts` is the id a redaction
    names, wherever its room version has it. `state_key` is None unless the event is a state event. `depth` and
    `origin_server_ts` (in milliseconds) are as the sender claims. In v12 the create event names no room: its `room_id`
    is made of its own id.
    """

    __slots__ = (
        "_power_levels",
        "auth_events",
        "content",
        "depth",
        "event_id",
        "origin_server_ts",
        "pdu",
        "prev_events",
        "redacts",
        "room_id",
        "room_version",
        "sender",
        "state_key",
        "type",
    )

    event_id: EventId
    room_id: RoomId
    type: str
    sender: UserId
    state_key: str | None
    content: dict[str, Any]
    depth: int
    origin_server_ts: int
    prev_events: list[EventId]
    auth_events: list[EventId]
    redacts: EventId | None
    room_version: RoomVersion
    pdu: dict[str, Any]
    # Set by power_levels.power_levels_of: (the create event it was computed with, the levels).
    _power_levels: tuple[Event | None, PowerLevels] | None

    def __init__(self, pdu: dict[str, Any], room_version: RoomVersion, event_id: EventId | str | None = None) -> None:
        """`event_id` None computes it. `pdu` must have passed `event_format.check_format`, or be made by ourselves."""
        if "unsigned" in pdu:
            pdu = {key: value for key, value in pdu.items() if key != "unsigned"}
        if event_id is None:
            event_id = event_id_of(pdu, room_version)
        self.event_id = event_id  # type: ignore[assignment]
        self.pdu = pdu
        self.room_version = room_version
        self.type = type_ = pdu["type"]
        self.sender = pdu["sender"]
        self.state_key = pdu.get("state_key")
        self.content = content = pdu["content"]
        self.depth = pdu["depth"]
        self.origin_server_ts = pdu["origin_server_ts"]
        self._power_levels = None
        room_id = pdu.get("room_id")
        self.room_id = room_id if room_id is not None else RoomId("!" + event_id[1:])
        if room_version.event_id_format == "explicit":
            self.prev_events = [pair[0] for pair in pdu["prev_events"]]
            self.auth_events = [pair[0] for pair in pdu["auth_events"]]
        else:
            self.prev_events = pdu["prev_events"]
            self.auth_events = pdu["auth_events"]
        self.redacts = None
        if type_ == "m.room.redaction":
            redacts = content.get("redacts") if room_version.redacts_in_content else pdu.get("redacts")
            if isinstance(redacts, str):
                self.redacts = EventId(redacts)

    @property
    def is_state(self) -> bool:
        return self.state_key is not None

    @property
    def key(self) -> StateKey:
        """(type, state key) of a state event; asking it of another event is a mistake of the caller."""
        assert self.state_key is not None, "only state events have a key"
        return self.type, self.state_key

    def __repr__(self) -> str:
        state = "" if self.state_key is None else f" state_key={self.state_key!r}"
        return f"<Event {self.event_id} {self.type}{state} v{self.room_version.identifier}>"
