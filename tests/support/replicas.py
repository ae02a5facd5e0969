"""Several homeservers in one process that hold the same room, and hand each other its events without a network.

Each is the real server over a database in memory; what federation will do between them (fetching what is missing,
checking signatures) is done here in the simplest way: the sender is asked for what the receiver does not know.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

from homeserver.protocol.authorization import auth_keys
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.events import Event
from homeserver.protocol.hashes import reference_hash
from homeserver.protocol.identifiers import ServerName
from homeserver.protocol.room_versions import ROOM_VERSIONS
from homeserver.protocol.signatures import seal_event
from homeserver.rooms.branches import UnknownEvents
from homeserver.rooms.pipeline import Draft
from homeserver.rooms.receiving import Outcome
from homeserver.rooms.services import RoomServices, RoomSettings
from homeserver.users.services import UserSettings
from tests.support.server import Server, open_server, server_settings, signing_key


@dataclass
class Replica:
    """One server."""

    name: str
    server: Server
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def rooms(self) -> RoomServices:
        return self.server.homeserver.rooms

    def user(self, name: str = "u") -> str:
        return f"@{name}:{self.name}"


class SharedRoom:
    """A room that several servers are in."""

    def __init__(self, replicas: list[Replica], room_id: str, version: str) -> None:
        self.replicas = replicas
        self.room_id = room_id
        self.version = ROOM_VERSIONS[version]
        self.events: dict[str, Event] = {}
        self.waiting: list[tuple[Replica, Event]] = []

    # ---- what servers do

    async def send(self, at: Replica, event_type: str, content: dict[str, Any], state_key: str | None = None) -> bool:
        """A user of a server sends; the others get it later. False when the rules do not allow it there."""
        for replica in self.replicas:
            await replica.server.clock.advance(1)
        try:
            stored = await at.rooms.pipeline.send(
                self.room_id, Draft(at.user(), event_type, content, state_key=state_key)
            )
        except MatrixError:
            return False
        self.spread(at, stored.event)
        return True

    def spread(self, origin: Replica, event: Event) -> None:
        self.events[event.event_id] = event
        self.waiting += [(other, event) for other in self.replicas if other is not origin]

    async def deliver(self, chance: random.Random, count: int = 1) -> None:
        """Some of what waits arrives, in whatever order."""
        for _ in range(min(count, len(self.waiting))):
            at, event = self.waiting.pop(chance.randrange(len(self.waiting)))
            await self.receive(at, event)

    async def receive(self, at: Replica, event: Event) -> Outcome:
        """`event` arrives at a server, which asks for what it does not know."""
        while True:
            try:
                outcome = await at.rooms.receiver.receive(_arrived(event))
            except UnknownEvents as unknown:
                for event_id in sorted(unknown.event_ids, key=lambda one: self.events[one].depth):
                    await self.receive(at, self.events[event_id])
                continue
            at.outcomes.setdefault(event.event_id, outcome)
            return outcome

    # ---- how they get there

    async def join(self, joining: Replica, resident: Replica) -> None:
        """The first user of a server comes in, by what `resident` tells of the room."""
        room = await resident.rooms.live.get(self.room_id)
        content = {"membership": "join"}
        state = [stored.event for stored in await resident.rooms.live.state(room)]
        by_key = {event.key: event for event in state}
        user_id = joining.user()
        keys = auth_keys("m.room.member", user_id, user_id, content, self.version)
        auth = [by_key[key] for key in keys if key in by_key]
        heads = room.extremities
        pdu: dict[str, Any] = {
            "type": "m.room.member",
            "sender": user_id,
            "state_key": user_id,
            "room_id": self.room_id,
            "content": content,
            "origin_server_ts": joining.server.clock.now_ms(),
            "depth": max(head.depth for head in heads) + 1,
            "prev_events": [head.event_id for head in heads],
            "auth_events": [event.event_id for event in auth],
        }
        if self.version.has_event_ids_in_pdus:
            pdu["event_id"] = f"$join{joining.name}:{joining.name}"
            pdu["prev_events"] = [[head.event_id, {"sha256": head.sha256}] for head in heads]
            pdu["auth_events"] = [[e.event_id, {"sha256": reference_hash(e.pdu, self.version)}] for e in auth]
        join = seal_event(pdu, self.version, joining.name, signing_key())
        await resident.rooms.receiver.receive(_arrived(join))
        chain = await resident.rooms.branches.with_auth_chains(room, [event.event_id for event in state])
        for event, _ in chain.values():
            self.events[event.event_id] = event
        await joining.rooms.room_import.take_in(state, [event for event, _ in chain.values()], join)
        self.replicas.append(joining)
        self.spread(joining, join)
        self.waiting = [(at, event) for at, event in self.waiting if not (at is resident and event is join)]

    # ---- what must hold

    async def views(self) -> list[dict[str, Any]]:
        """What each server takes the room for."""
        views = []
        for replica in self.replicas:
            room = await replica.rooms.live.get(self.room_id)
            views.append(
                {
                    "state": dict(sorted(room.state_ids.items())),
                    "heads": sorted(head.event_id for head in room.extremities),
                    "members": dict(sorted((k, v) for k, v in room.members.items() if v != "leave")),
                }
            )
        return views

    async def close(self) -> None:
        for replica in self.replicas:
            await replica.server.close()


def open_replica(name: str) -> Replica:
    settings = server_settings(server_name=name, rooms=RoomSettings(name))
    users = replace(settings.users, server_name=ServerName(name))
    assert isinstance(users, UserSettings)
    return Replica(name, open_server(settings=replace(settings, users=users)))


async def open_shared_room(count: int, version: str) -> SharedRoom:
    """A room made at the first of `count` servers; one user of each of the others has joined."""
    replicas = [open_replica(f"s{number}.test") for number in range(count)]
    first = replicas[0]
    made = Draft(first.user(), "m.room.create", _create_content(first, version), state_key="")

    def following(room_id: str) -> list[Draft]:
        user = first.user()
        levels: dict[str, Any] = {"users": {other.user(): 50 for other in replicas[1:]}}
        if not ROOM_VERSIONS[version].privileged_creators:
            levels["users"][user] = 100
        return [
            Draft(user, "m.room.member", {"membership": "join"}, state_key=user),
            Draft(user, "m.room.power_levels", levels, state_key=""),
            Draft(user, "m.room.join_rules", {"join_rule": "public"}, state_key=""),
        ]

    room_id = await first.rooms.pipeline.create(ROOM_VERSIONS[version], made, following)
    shared = SharedRoom([first], room_id, version)
    for stored in (await first.rooms.live.get(room_id)).timeline:
        shared.events[stored.event_id] = stored.event
    for replica in replicas[1:]:
        await shared.join(replica, first)
    while shared.waiting:
        await shared.deliver(random.Random(1))
    return shared


def _create_content(first: Replica, version: str) -> dict[str, Any]:
    content = {"room_version": version}
    if not ROOM_VERSIONS[version].creator_is_sender:
        content["creator"] = first.user()
    return content


def _arrived(event: Event) -> Event:
    """The same event as another server would have parsed it."""
    return Event(event.pdu, event.room_version)
