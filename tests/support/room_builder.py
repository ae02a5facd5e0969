"""Rooms for tests: real events of any room version, hashed, signed and authorised, the same on every run.

    room = RoomBuilder("12", creator="@alice:here")       # create, join, power levels, public join rules
    room.join("@bob:there")
    left, right = room.fork(), room.fork()                # two branches of the same room
    left.ban("@alice:here", "@bob:there")
    right.state("@bob:there", "m.room.topic", {"topic": "Hi"}, check=False)
    state = merge(left, right)                            # resolves, and is the room after both

A `RoomBuilder` is one branch: it has heads (the forward extremities it has seen) and the state after them. Branches of
a room share its events and its clock. Every event goes on from the heads and takes its `auth_events` from the state,
unless told otherwise; it is checked by the rules of authorisation, unless `check=False` (NotAuthorized is raised, and
nothing is added).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from nacl.signing import SigningKey as NaclSigningKey
from signedjson.key import decode_signing_key_base64
from signedjson.types import SigningKey
from unpaddedbase64 import encode_base64

from homeserver.protocol.authorization import auth_keys, check_authorized
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.hashes import reference_hash
from homeserver.protocol.identifiers import EventId, RoomId, domain_of
from homeserver.protocol.room_versions import DEFAULT_ROOM_VERSION, ROOM_VERSIONS, RoomVersion
from homeserver.protocol.signatures import seal_event
from homeserver.protocol.state_resolution import resolve

_EPOCH_MS = 1_700_000_000_000
_STEP_MS = 1000


def signing_key_of(server_name: str) -> SigningKey:
    """The key with which a server of the tests signs: made of its name, so that anybody can verify."""
    seed = sha256(server_name.encode()).digest()
    return decode_signing_key_base64("ed25519", "test", encode_base64(bytes(NaclSigningKey(seed))))


class _Room:
    """What all branches of a room share."""

    def __init__(self, version: RoomVersion, creator: str) -> None:
        self.version = version
        self.creator = creator
        self.room_id: RoomId | None = None
        self.events: dict[EventId, Event] = {}
        self.now_ms = _EPOCH_MS
        self.keys: dict[str, SigningKey] = {}


class RoomBuilder:
    """One branch of a room. Every method that adds an event returns it.

    `power_levels`: content of the first m.room.power_levels, None for none; the creator has 100 unless the version
    gives creators more. `join_rule`: None for no m.room.join_rules. `bare`: the create event only.
    """

    def __init__(
        self,
        version: str | RoomVersion = DEFAULT_ROOM_VERSION,
        creator: str = "@alice:here",
        *,
        create: Mapping[str, Any] | None = None,
        power_levels: Mapping[str, Any] | None = None,
        join_rule: str | None = "public",
        bare: bool = False,
    ) -> None:
        if isinstance(version, str):
            version = ROOM_VERSIONS[version]
        self._room = _Room(version, creator)
        self.heads: list[Event] = []
        self.state_events: dict[StateKey, Event] = {}
        content: dict[str, Any] = {"room_version": version.identifier, **(create or {})}
        if not version.creator_is_sender:
            content["creator"] = creator
        self.create = self.state(creator, "m.room.create", content)
        if bare:
            return
        self.join(creator)
        users = {} if version.privileged_creators else {creator: 100}
        self.state(creator, "m.room.power_levels", {"users": users, **(power_levels or {})})
        if join_rule is not None:
            self.state(creator, "m.room.join_rules", {"join_rule": join_rule})

    @property
    def version(self) -> RoomVersion:
        return self._room.version

    @property
    def creator(self) -> str:
        return self._room.creator

    @property
    def room_id(self) -> RoomId:
        return self.create.room_id

    @property
    def events(self) -> Mapping[EventId, Event]:
        """All events of all branches, by id."""
        return self._room.events

    @property
    def state_ids(self) -> dict[StateKey, EventId]:
        """The state after the heads, as state resolution takes it."""
        return {key: event.event_id for key, event in self.state_events.items()}

    def fork(self) -> RoomBuilder:
        """Another branch that goes on from here."""
        branch = object.__new__(RoomBuilder)
        branch._room, branch.create = self._room, self.create
        branch.heads, branch.state_events = list(self.heads), dict(self.state_events)
        return branch

    def wait(self, milliseconds: int) -> None:
        """Let time pass between two events."""
        self._room.now_ms += milliseconds

    def state(
        self, sender: str, event_type: str, content: Mapping[str, Any], state_key: str = "", **options: Any
    ) -> Event:
        """A state event. `options` as in `add`."""
        return self.add(sender, event_type, content, state_key=state_key, **options)

    def message(self, sender: str, body: str = "Hello", **options: Any) -> Event:
        """A text message."""
        return self.add(sender, "m.room.message", {"msgtype": "m.text", "body": body}, **options)

    def topic(self, sender: str, topic: str, **options: Any) -> Event:
        return self.state(sender, "m.room.topic", {"topic": topic}, **options)

    def power_levels(self, sender: str, users: Mapping[str, int], **options: Any) -> Event:
        """The power levels as they are, with other levels for these users. `content` adds other members."""
        current = self.state_events.get(("m.room.power_levels", ""))
        content = dict(current.content) if current else {}
        content["users"] = {**content.get("users", {}), **users}
        return self.state(sender, "m.room.power_levels", {**content, **options.pop("content", {})}, **options)

    def join_rules(self, sender: str, join_rule: str, **options: Any) -> Event:
        return self.state(sender, "m.room.join_rules", {"join_rule": join_rule}, **options)

    def history_visibility(self, sender: str, visibility: str, **options: Any) -> Event:
        return self.state(sender, "m.room.history_visibility", {"history_visibility": visibility}, **options)

    def member(self, sender: str, target: str, membership: str, **options: Any) -> Event:
        """A change of membership. `content` adds other members."""
        content = {"membership": membership, **options.pop("content", {})}
        return self.state(sender, "m.room.member", content, target, **options)

    def join(self, user_id: str, **options: Any) -> Event:
        return self.member(user_id, user_id, "join", **options)

    def leave(self, user_id: str, **options: Any) -> Event:
        return self.member(user_id, user_id, "leave", **options)

    def knock(self, user_id: str, **options: Any) -> Event:
        return self.member(user_id, user_id, "knock", **options)

    def invite(self, sender: str, target: str, **options: Any) -> Event:
        return self.member(sender, target, "invite", **options)

    def kick(self, sender: str, target: str, **options: Any) -> Event:
        return self.member(sender, target, "leave", **options)

    def ban(self, sender: str, target: str, **options: Any) -> Event:
        return self.member(sender, target, "ban", **options)

    def add(
        self,
        sender: str,
        event_type: str,
        content: Mapping[str, Any],
        *,
        state_key: str | None = None,
        check: bool = True,
        at: int | None = None,
        depth: int | None = None,
        prev_events: Sequence[Event] | None = None,
        auth_events: Iterable[Event] | None = None,
        **members: Any,
    ) -> Event:
        """Any event. `at`: its time, in milliseconds after the room's beginning. `members`: further top-level ones."""
        room = self._room
        room.now_ms += _STEP_MS
        parents = self.heads if prev_events is None else list(prev_events)
        if auth_events is None:
            keys = auth_keys(event_type, sender, state_key, content, room.version)
            auth_events = [self.state_events[key] for key in keys if key in self.state_events]
        draft: dict[str, Any] = {
            "type": event_type,
            "sender": sender,
            "content": dict(content),
            "depth": max((parent.depth for parent in parents), default=0) + 1 if depth is None else depth,
            "origin_server_ts": room.now_ms if at is None else _EPOCH_MS + at,
            "prev_events": self._references(parents),
            "auth_events": self._references(auth_events),
            **members,
        }
        if state_key is not None:
            draft["state_key"] = state_key
        server_name = domain_of(sender)
        if not (event_type == "m.room.create" and room.version.room_id_is_create_hash):
            draft["room_id"] = room.room_id or f"!room:{server_name}"
        if room.version.has_event_ids_in_pdus:
            draft["event_id"] = f"${len(room.events)}:{server_name}"
        if server_name not in room.keys:
            room.keys[server_name] = signing_key_of(server_name)
        event = seal_event(draft, room.version, server_name, room.keys[server_name])
        if check:
            check_authorized(event, self.state_events)
        room.room_id = event.room_id
        room.events[event.event_id] = event
        self.heads = [event]
        if event.is_state:
            self.state_events[event.key] = event
        return event

    def _references(self, events: Iterable[Event]) -> list[Any]:
        if not self.version.has_event_ids_in_pdus:
            return [event.event_id for event in events]
        return [[event.event_id, {"sha256": reference_hash(event.pdu, self.version)}] for event in events]


def merge(*branches: RoomBuilder) -> RoomBuilder:
    """The room after all these branches, by state resolution."""
    merged = branches[0].fork()
    resolved = resolve(merged.version, [branch.state_ids for branch in branches], merged.events)
    merged.state_events = {key: merged.events[event_id] for key, event_id in resolved.items()}
    merged.heads = list({event.event_id: event for branch in branches for event in branch.heads}.values())
    return merged


__all__ = ["RoomBuilder", "merge", "signing_key_of"]
