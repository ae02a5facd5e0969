"""A homeserver that lies: it has a name and a real signing key, signs whatever it wants to, and answers every request
in whatever way a test says. It stands on the network of tests/support/federation.py beside honest servers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec
from signedjson.key import generate_signing_key
from signedjson.types import SigningKey
from unpaddedbase64 import encode_base64

from federation.request_signing import sign_request
from homeserver.http.application import Reply
from homeserver.protocol.authorization import auth_keys
from homeserver.protocol.events import Event
from homeserver.protocol.hashes import content_hash, reference_hash
from homeserver.protocol.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.protocol.signatures import key_id_of, sign, sign_event
from tests.support.clock import START_MS
from tests.support.federation import FederatedServer, Network
from tests.support.http import Answer

V1, V2 = "/_matrix/federation/v1", "/_matrix/federation/v2"
NAME = "liar.test"


@dataclass(frozen=True)
class Asked:
    """A request that came to the liar."""

    method: str
    target: str
    body: Any


@dataclass
class LiarsRoom:
    """A room as the liar knows it: `state` by key, and the event that the next one stands on."""

    room_id: str
    version: RoomVersion
    state: dict[tuple[str, str], Event]
    last: Event
    chain: list[Event] = field(default_factory=list)


Told = Callable[[Asked], tuple[int, Any]]


class Liar:
    """Answers by `answers`, a pattern of the target → (status, body) or a function; what matches none is 404."""

    def __init__(self, network: Network, name: str = NAME) -> None:
        self.name = name
        self.user = f"@mallory:{name}"
        self.key: SigningKey = generate_signing_key("liar")
        self.network = network
        self.asked: list[Asked] = []
        self.answers: dict[str, Told | tuple[int, Any]] = {}
        self.keys: Callable[[], Any] = self.own_keys
        self._numbers = itertools.count(1)
        self.federation_application = self
        network.servers[name] = self  # type: ignore[assignment]

    async def close(self) -> None:
        """As the network's other servers are closed."""

    # ---- being asked

    async def respond(self, method: str, target: str, headers: dict[str, str], body: bytes, address: str) -> Reply:
        asked = Asked(method, target, msgspec.json.decode(body) if body else None)
        self.asked.append(asked)
        status, answer = self._answer(asked)
        return Reply(status, [], answer if isinstance(answer, bytes) else msgspec.json.encode(answer))

    def _answer(self, asked: Asked) -> tuple[int, Any]:
        for pattern, told in self.answers.items():
            if re.search(pattern, asked.target):
                return told(asked) if callable(told) else told
        if asked.target == "/_matrix/key/v2/server":
            return 200, self.keys()
        if "/send/" in asked.target:
            return 200, {"pdus": {}}
        return 404, {"errcode": "M_NOT_FOUND", "error": "Nothing"}

    def own_keys(self, **changes: Any) -> Any:
        published = {
            "server_name": self.name,
            "verify_keys": {key_id_of(self.key): {"key": encode_base64(self.key.verify_key.encode())}},
            "old_verify_keys": {},
            "valid_until_ts": START_MS + 24 * 3600 * 1000,
            **changes,
        }
        return sign(published, self.name, self.key)

    def received(self) -> list[Any]:
        """Every event that it was brought or told."""
        found = []
        for asked in self.asked:
            if isinstance(asked.body, dict):
                found += asked.body.get("pdus", [])
                found += [asked.body] if "auth_events" in asked.body else []
                found += [asked.body["event"]] if isinstance(asked.body.get("event"), dict) else []
        return found

    # ---- asking

    async def request(self, to: FederatedServer, method: str, target: str, body: Any = None, **lie: Any) -> Answer:
        header = lie.get("header") or sign_request(
            method, target, body, origin=lie.get("origin", self.name), destination=to.name, key=lie.get("key", self.key)
        )
        content = b"" if body is None else msgspec.json.encode(body)
        reply = await to.federation_application.respond(
            method, target, {"authorization": header, "content-type": "application/json"}, content, "192.0.2.66"
        )
        assert isinstance(reply.body, bytes)
        return Answer(reply.status, dict(reply.headers), reply.body)

    async def send(self, to: FederatedServer, *pdus: Any, edus: Any = (), txn: str | None = None) -> dict[str, Any]:
        """A transaction, which is always answered with 200; what became of its events, by id."""
        raw = [pdu.pdu if isinstance(pdu, Event) else pdu for pdu in pdus]
        body = {"origin": self.name, "origin_server_ts": START_MS, "pdus": raw, "edus": list(edus)}
        name = txn or f"t{next(self._numbers)}"
        answer = await self.request(to, "PUT", f"{V1}/send/{name}", body)
        assert answer.status == 200, answer.body
        outcomes: dict[str, Any] = answer.json["pdus"]
        return outcomes

    # ---- events

    async def join(self, to: FederatedServer, room_id: str, user: str | None = None) -> LiarsRoom:
        """Join by the real dance."""
        user = user or self.user
        room, who = quote(room_id, safe=""), quote(user, safe="")
        versions = "&".join(f"ver={version}" for version in ROOM_VERSIONS)
        made = await self.request(to, "GET", f"{V1}/make_join/{room}/{who}?{versions}")
        assert made.status == 200, made.body
        version = ROOM_VERSIONS[made.json["room_version"]]
        pdu = {key: value for key, value in made.json["event"].items() if key != "origin"}
        if version.has_event_ids_in_pdus:
            pdu["event_id"] = f"$join{next(self._numbers)}:{self.name}"
        event = self.seal(pdu, version)
        target = f"{V2}/send_join/{room}/{quote(event.event_id, safe='')}"
        joined = await self.request(to, "PUT", target, event.pdu)
        assert joined.status == 200, joined.body
        state = [Event(one, version) for one in joined.json["state"]]
        chain = [Event(one, version) for one in joined.json["auth_chain"]]
        by_key = {one.key: one for one in state}
        by_key[event.key] = event
        return LiarsRoom(room_id, version, by_key, event, chain)

    def make_room(self, version: str = "11", room_id: str = "!lies:liar.test", rule: str = "public") -> LiarsRoom:
        """A room of its own, with its user in it."""
        known = ROOM_VERSIONS[version]
        content: dict[str, Any] = {"room_version": version}
        if not known.creator_is_sender:
            content["creator"] = self.user
        bare: Any = LiarsRoom(room_id, known, {}, None)  # type: ignore[arg-type]
        bare.last = self.event(bare, "m.room.create", content, state_key="", prev=[], auth=[])
        bare.state[bare.last.key] = bare.last
        self.event(bare, "m.room.member", {"membership": "join"}, state_key=self.user, advance=True)
        self.event(bare, "m.room.power_levels", {"users": {self.user: 100}}, state_key="", advance=True)
        self.event(bare, "m.room.join_rules", {"join_rule": rule}, state_key="", advance=True)
        room: LiarsRoom = bare
        return room

    def template(self, room: LiarsRoom, user: str, membership: str = "join") -> dict[str, Any]:
        """A true answer to `/make_*`."""
        made = self.event(room, "m.room.member", {"membership": membership}, state_key=user, sender=user).pdu
        made = {key: value for key, value in made.items() if key not in ("hashes", "signatures", "event_id")}
        return {"room_version": room.version.identifier, "event": made}

    def told_state(self, room: LiarsRoom) -> dict[str, Any]:
        """A true answer to `/send_join`."""
        state = [event.pdu for event in room.state.values()]
        return {"origin": self.name, "state": state, "auth_chain": state, "members_omitted": False}

    def seal(self, pdu: dict[str, Any], version: RoomVersion, **changes: Any) -> Event:
        """Hash and sign anything."""
        made = {key: value for key, value in {**pdu, **changes}.items() if key not in ("hashes", "signatures")}
        if "hashes" in changes:
            made["hashes"] = changes["hashes"]
        else:
            made["hashes"] = {"sha256": content_hash(made)}
        return Event(sign_event(made, version, self.name, self.key), version)

    def event(
        self,
        room: LiarsRoom,
        event_type: str = "m.room.message",
        content: Any = None,
        *,
        state_key: str | None = None,
        prev: list[Event] | None = None,
        auth: list[Event] | None = None,
        advance: bool = False,
        **changes: Any,
    ) -> Event:
        """An event of the liar's user on the newest that it knows; `changes` replace members. `advance`: the next one
        stands on it."""
        content = {"msgtype": "m.text", "body": "a lie"} if content is None else content
        sender = changes.get("sender", self.user)
        prev = [room.last] if prev is None else prev
        if auth is None:
            keys = auth_keys(event_type, sender, state_key, content, room.version)
            auth = [room.state[key] for key in keys if key in room.state]
        pdu: dict[str, Any] = {
            "type": event_type,
            "sender": sender,
            "room_id": room.room_id,
            "content": content,
            "origin_server_ts": START_MS + next(self._numbers),
            "depth": max((one.depth for one in prev), default=0) + 1,
            "prev_events": self._references(prev, room.version),
            "auth_events": self._references(auth, room.version),
        }
        if state_key is not None:
            pdu["state_key"] = state_key
        if room.version.has_event_ids_in_pdus:
            pdu["event_id"] = f"$e{next(self._numbers)}:{self.name}"
        made = self.seal(pdu, room.version, **changes)
        if advance:
            room.last = made
            if state_key is not None:
                room.state[made.key] = made
        return made

    def _references(self, events: list[Event], version: RoomVersion) -> list[Any]:
        if not version.has_event_ids_in_pdus:
            return [event.event_id for event in events]
        return [[event.event_id, {"sha256": reference_hash(event.pdu, version)}] for event in events]
