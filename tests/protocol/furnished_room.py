"""A room as a state, in any room version, and unsigned events for it: what tests of the rules judge.

Alice made the room; Admin (100), Bob and Mod (50) and Carol (0) are in it, Frank is invited, Erin is banned, Grace has
knocked, and Dan was never there. Remote is in it too, on another server.
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.room_versions import ROOM_VERSIONS, RoomVersion

ALICE = "@alice:a.example"
ADMIN = "@admin:a.example"
BOB = "@bob:a.example"
MOD = "@mod:a.example"
CAROL = "@carol:a.example"
DAN = "@dan:a.example"
ERIN = "@erin:a.example"
FRANK = "@frank:a.example"
GRACE = "@grace:a.example"
REMOTE = "@remote:b.example"

ALL_VERSIONS = list(ROOM_VERSIONS.values())


class Room:
    """The state of a room, to which `set` adds; `event` makes events that are not in the state."""

    def __init__(self, version: RoomVersion, **create_content: Any) -> None:
        self.version = version
        self.state: dict[StateKey, Event] = {}
        self.room_id = "!room:a.example"
        self._count = 0
        content: dict[str, Any] = {"room_version": version.identifier, **create_content}
        if not version.creator_is_sender:
            content["creator"] = ALICE
        self.create = self.set("m.room.create", content, "", sender=ALICE, prev_events=[])
        self.room_id = self.create.room_id

    @classmethod
    def furnished(cls, version: RoomVersion, *, join_rule: str = "invite", **levels: Any) -> Room:
        """The room of the module's docstring; `levels` go into m.room.power_levels."""
        room = cls(version)
        room.member(ALICE, "join", prev_events=[room.create])
        users = {ADMIN: 100, BOB: 50, MOD: 50}
        if not version.privileged_creators:
            users[ALICE] = 100
        room.set("m.room.power_levels", {"users": users, **levels}, "", sender=ALICE)
        room.set("m.room.join_rules", {"join_rule": join_rule}, "", sender=ALICE)
        for user in (ADMIN, BOB, MOD, CAROL, REMOTE):
            room.member(user, "join")
        room.member(FRANK, "invite", sender=ADMIN)
        room.member(ERIN, "ban", sender=ADMIN)
        room.member(GRACE, "knock")
        return room

    def event(
        self,
        event_type: str,
        content: dict[str, Any],
        state_key: str | None = None,
        *,
        sender: str = BOB,
        prev_events: list[Event] | None = None,
        auth_events: list[Event] | None = None,
        **members: Any,
    ) -> Event:
        """An event of this room. `members` set or, with None, remove top-level members of the PDU."""
        self._count += 1
        pdu: dict[str, Any] = {
            "type": event_type,
            "content": content,
            "sender": sender,
            "depth": self._count,
            "origin_server_ts": 1_700_000_000_000 + self._count,
            "room_id": self.room_id,
            "prev_events": self._references(prev_events if prev_events is not None else [self.create]),
            "auth_events": self._references(auth_events or []),
            "hashes": {},
            "signatures": {},
        }
        if self.version.has_event_ids_in_pdus:
            pdu["event_id"] = f"${self._count}:{sender.partition(':')[2]}"
        if event_type == "m.room.create" and self.version.room_id_is_create_hash:
            del pdu["room_id"]
        if state_key is not None:
            pdu["state_key"] = state_key
        pdu = {name: value for name, value in {**pdu, **members}.items() if value is not None}
        return Event(pdu, self.version)

    def set(self, event_type: str, content: dict[str, Any], state_key: str = "", **rest: Any) -> Event:
        event = self.event(event_type, content, state_key, **rest)
        self.state[event.key] = event
        return event

    def member(self, user: str, membership: str, *, sender: str | None = None, **rest: Any) -> Event:
        return self.set("m.room.member", {"membership": membership}, user, sender=sender or user, **rest)

    def membership(self, user: str, membership: str, *, sender: str | None = None, **content: Any) -> Event:
        """A membership event that is to be judged, after some other event."""
        after = self.state.get(("m.room.power_levels", ""), self.create)
        return self.event(
            "m.room.member", {"membership": membership, **content}, user, sender=sender or user, prev_events=[after]
        )

    def levels(self, sender: str, **changes: Any) -> Event:
        """m.room.power_levels with these changes; a value None removes the property."""
        content = {**self.state["m.room.power_levels", ""].content, **changes}
        content = {name: value for name, value in content.items() if value is not None}
        return self.event("m.room.power_levels", content, "", sender=sender)

    def _references(self, events: list[Event]) -> list[Any]:
        if self.version.has_event_ids_in_pdus:
            return [[event.event_id, {}] for event in events]
        return [event.event_id for event in events]
