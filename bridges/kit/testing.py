"""For bridge authors: a homeserver in memory and a clock of one's own, so that a bridge is tested without network.

    async with BridgeHarness(EchoNetwork()) as harness:
        room = harness.homeserver.create_room("@alice:example.org", invite=[harness.bot])
        await harness.settle()
        harness.homeserver.say(room, "@alice:example.org", "hello")
        await harness.settle()
        assert harness.homeserver.texts(room) == [...]

The fake answers as the specification says for what the kit uses, and no more. `fault` plays a bad network.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import msgspec

from bridges.kit.bridge import Bridge
from bridges.kit.network import Network
from bridges.kit.requests import Answer, Unreachable
from bridges.kit.settings import BridgeSettings

AS_TOKEN = "as-token-for-tests-0123456789abcdef"  # noqa: S105
HS_TOKEN = "hs-token-for-tests-0123456789abcdef"  # noqa: S105

OK, ERROR, LOST, LIMITED, UNREACHABLE, HANG = "ok", "error", "lost", "limited", "unreachable", "hang"
"""Kinds of fault: done and answered; 500; done but the answer is lost; 429; not done; done, and no answer for ever."""


class FakeClock:
    """Time passes when somebody sleeps (or by `advance`), and at no other moment."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self._start_ms = start_ms
        self._passed = 0.0

    def now_ms(self) -> int:
        return self._start_ms + round(self._passed * 1000)

    def monotonic(self) -> float:
        return self._passed

    def advance(self, seconds: float) -> None:
        self._passed += seconds

    async def sleep(self, seconds: float) -> None:
        self.advance(max(0.0, seconds))
        await asyncio.sleep(0)


class FakeRoom:
    """One room: its timeline and state. `receipts` are (user, event id), `typing` the users that type."""

    def __init__(self, room_id: str) -> None:
        self.room_id = room_id
        self.events: list[dict[str, Any]] = []
        self.state: dict[tuple[str, str], dict[str, Any]] = {}
        self.receipts: list[tuple[str, str]] = []
        self.typing: set[str] = set()

    def membership(self, user_id: str) -> str:
        return str(self.state.get(("m.room.member", user_id), {}).get("membership", "leave"))


class _No(Exception):
    def __init__(self, status: int, errcode: str) -> None:
        super().__init__(errcode)
        self.status, self.errcode = status, errcode


class FakeHomeserver:
    """A homeserver in memory, as `Requests` of a bridge on one side and as people in rooms on the other."""

    def __init__(self, server_name: str = "example.org") -> None:
        self.server_name = server_name
        self.bot = ""
        self.users: dict[str, str] = {}
        self.rooms: dict[str, FakeRoom] = {}
        self.aliases: dict[str, str] = {}
        self.media: dict[str, tuple[str, bytes]] = {}
        self.calls: list[tuple[str, str]] = []
        self.unsent: list[dict[str, Any]] = []
        self.unsent_ephemeral: list[dict[str, Any]] = []
        self.fault: Callable[[str, str], str] = lambda method, path: OK
        self._txns: dict[tuple[str, str], str] = {}
        self._count = 0

    # As Requests.

    async def request(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes, limit: int
    ) -> Answer:
        self.calls.append((method, path))
        fault = self.fault(method, path)
        await asyncio.sleep(0)
        if fault == UNREACHABLE:
            raise Unreachable("the fake network is down")
        if fault == ERROR:
            return Answer(500, b'{"errcode":"M_UNKNOWN","error":"fake"}')
        if fault == LIMITED:
            return Answer(429, b'{"errcode":"M_LIMIT_EXCEEDED","error":"fake","retry_after_ms":1500}')
        if headers.get("Authorization") != f"Bearer {AS_TOKEN}":
            return Answer(401, b'{"errcode":"M_UNKNOWN_TOKEN","error":"fake"}')
        answer = self._answer(method, path, query, headers, body)
        if fault == LOST:
            raise Unreachable("the fake network lost the answer")
        if fault == HANG:
            await asyncio.get_running_loop().create_future()
        return answer

    async def close(self) -> None:
        """Nothing to close."""

    def _answer(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Answer:
        user = query.get("user_id", self.bot)
        names = [unquote(name) for name in path.split("/")]
        if path == "/_matrix/media/v3/upload":
            mxc = f"mxc://{self.server_name}/{self._next('media')}"
            self.media[mxc] = (headers["Content-Type"], body)
            return Answer(200, msgspec.json.encode({"content_uri": mxc}))
        if path.startswith("/_matrix/client/v1/media/download/"):
            found = self.media.get(f"mxc://{names[6]}/{names[7]}")
            return Answer(404, b"{}") if found is None else Answer(200, found[1], {"content-type": found[0]})
        try:
            content = msgspec.json.decode(body) if body else {}
            return Answer(200, msgspec.json.encode(self._client_api(method, names[4:], user, content)))
        except _No as no:
            return Answer(no.status, msgspec.json.encode({"errcode": no.errcode, "error": "fake"}))

    def _client_api(self, method: str, names: list[str], user: str, body: dict[str, Any]) -> dict[str, Any]:
        match names:
            case ["register"]:
                user_id = f"@{body['username']}:{self.server_name}"
                if user_id in self.users:
                    raise _No(400, "M_USER_IN_USE")
                self.users[user_id] = body["username"]
                return {"user_id": user_id}
            case ["profile", user_id, "displayname"]:
                self._check_user(user_id)
                self.users[user_id] = body["displayname"]
                return {}
            case ["createRoom"]:
                return {"room_id": self._create(user, body)}
            case ["directory", "room", alias]:
                if alias not in self.aliases:
                    raise _No(404, "M_NOT_FOUND")
                return {"room_id": self.aliases[alias]}
            case ["rooms", room_id, *rest] if room_id in self.rooms:
                return self._room_api(method, self.rooms[room_id], rest, user, body)
        raise _No(404, "M_UNRECOGNIZED")

    def _room_api(
        self, method: str, room: FakeRoom, names: list[str], user: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        self._check_user(user)
        match names:
            case ["join"]:
                if room.membership(user) not in ("invite", "join"):
                    raise _No(403, "M_FORBIDDEN")
                self.set_member(room.room_id, user, "join", user)
                return {}
            case ["leave"]:
                self.set_member(room.room_id, user, "leave", user)
                return {}
            case ["invite"]:
                self._check_joined(room, user)
                if room.membership(body["user_id"]) in ("join", "ban"):
                    raise _No(403, "M_FORBIDDEN")
                self.set_member(room.room_id, body["user_id"], "invite", user)
                return {}
            case ["state", event_type, state_key] if method == "GET":
                if (event_type, state_key) not in room.state:
                    raise _No(404, "M_NOT_FOUND")
                return room.state[event_type, state_key]
            case ["state", event_type, state_key]:
                self._check_joined(room, user)
                return {"event_id": self.add_event(room.room_id, user, event_type, body, state_key)}
            case ["send", event_type, txn]:
                self._check_joined(room, user)
                if (user, txn) not in self._txns:
                    self._txns[user, txn] = self.add_event(room.room_id, user, event_type, body)
                return {"event_id": self._txns[user, txn]}
            case ["redact", event_id, txn]:
                self._check_joined(room, user)
                if (user, txn) not in self._txns:
                    self._txns[user, txn] = self.redact(room.room_id, user, event_id)
                return {"event_id": self._txns[user, txn]}
            case ["typing", user_id]:
                (room.typing.add if body["typing"] else room.typing.discard)(user_id)
                return {}
            case ["receipt", "m.read", event_id]:
                room.receipts.append((user, event_id))
                return {}
        raise _No(404, "M_UNRECOGNIZED")

    def _check_user(self, user_id: str) -> None:
        if user_id.endswith(f":{self.server_name}") and user_id not in self.users:
            raise _No(403, "M_FORBIDDEN")

    @staticmethod
    def _check_joined(room: FakeRoom, user: str) -> None:
        if room.membership(user) != "join":
            raise _No(403, "M_FORBIDDEN")

    def _create(self, creator: str, body: Mapping[str, Any]) -> str:
        self._check_user(creator)
        alias = f"#{body['room_alias_name']}:{self.server_name}" if "room_alias_name" in body else ""
        if alias in self.aliases:
            raise _No(400, "M_ROOM_IN_USE")
        room_id = f"!{self._next('room')}:{self.server_name}"
        self.rooms[room_id] = FakeRoom(room_id)
        if alias:
            self.aliases[alias] = room_id
        self.add_event(room_id, creator, "m.room.create", {"room_version": "12"}, "")
        self.set_member(room_id, creator, "join", creator)
        self.add_event(room_id, creator, "m.room.power_levels", {"users_default": 0, "users": {}}, "")
        for event in body.get("initial_state", []):
            self.add_event(room_id, creator, event["type"], event["content"], event.get("state_key", ""))
        for key in ("name", "topic"):
            if key in body:
                self.add_event(room_id, creator, f"m.room.{key}", {key: body[key]}, "")
        for invited in body.get("invite", []):
            self.set_member(room_id, invited, "invite", creator)
        return room_id

    def _next(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    # As people.

    def create_room(self, creator: str, *, invite: list[str] | None = None) -> str:
        """A person makes a room; its id."""
        self.users.setdefault(creator, creator[1:].split(":")[0])
        return self._create(creator, {"invite": invite or []})

    def add_event(
        self, room_id: str, sender: str, event_type: str, content: Mapping[str, Any], state_key: str | None = None
    ) -> str:
        """Any event, unchecked; its id. It is pushed to the bridge by the next `push`."""
        event: dict[str, Any] = {
            "event_id": f"${self._next('event')}",
            "room_id": room_id,
            "type": event_type,
            "sender": sender,
            "content": dict(content),
            "origin_server_ts": 1_700_000_000_000 + self._count,
        }
        room = self.rooms[room_id]
        if state_key is not None:
            event["state_key"] = state_key
            room.state[event_type, state_key] = event["content"]
        room.events.append(event)
        self.unsent.append(event)
        return str(event["event_id"])

    def set_member(self, room_id: str, user_id: str, membership: str, sender: str | None = None) -> str:
        content: dict[str, Any] = {"membership": membership}
        if user_id in self.users:
            content["displayname"] = self.users[user_id]
        return self.add_event(room_id, sender or user_id, "m.room.member", content, user_id)

    def join(self, room_id: str, user_id: str, name: str = "") -> None:
        """A person joins under a display name."""
        self.users[user_id] = name or user_id[1:].split(":")[0]
        self.set_member(room_id, user_id, "join")

    def say(self, room_id: str, sender: str, text: str, **more: Any) -> str:
        """A person writes; `more` goes into the content."""
        return self.add_event(room_id, sender, "m.room.message", {"msgtype": "m.text", "body": text, **more})

    def redact(self, room_id: str, sender: str, event_id: str) -> str:
        return self.add_event(room_id, sender, "m.room.redaction", {"redacts": event_id})

    def type(self, room_id: str, *user_ids: str) -> None:
        content = {"user_ids": list(user_ids)}
        self.unsent_ephemeral.append({"type": "m.typing", "room_id": room_id, "content": content})

    def read(self, room_id: str, user_id: str, event_id: str) -> None:
        content = {event_id: {"m.read": {user_id: {"ts": 1}}}}
        self.unsent_ephemeral.append({"type": "m.receipt", "room_id": room_id, "content": content})

    # What happened.

    def texts(self, room_id: str) -> list[tuple[str, str]]:
        """(sender, body) of every message of a room, in order."""
        return [
            (event["sender"], event["content"].get("body", ""))
            for event in self.rooms[room_id].events
            if event["type"] == "m.room.message"
        ]

    def portal_rooms(self) -> list[FakeRoom]:
        """The rooms that the bridge made, oldest first."""
        return [room for room in self.rooms.values() if room.events[0]["sender"] == self.bot]


class BridgeHarness:
    """A bridge at a fake homeserver. `factory` makes the network anew at each `restart`."""

    def __init__(
        self,
        factory: Callable[[], Network],
        *,
        database: str = ":memory:",
        prefix: str = "_test_",
        homeserver: FakeHomeserver | None = None,
    ) -> None:
        self.homeserver = homeserver or FakeHomeserver()
        self.clock = FakeClock()
        self.settings = BridgeSettings(
            id="test",
            homeserver_url="http://homeserver.invalid",
            server_name=self.homeserver.server_name,
            as_token=AS_TOKEN,
            hs_token=HS_TOKEN,
            prefix=prefix,
            bot=f"{prefix}bot",
            database=database,
        )
        self.bot = self.settings.bot_user_id
        self.homeserver.bot = self.bot
        self._factory = factory
        self._transactions = 0
        self._new()

    def _new(self) -> None:
        self.bridge = Bridge(self._factory(), self.settings, requests=self.homeserver, clock=self.clock, listen=False)

    @property
    def network(self) -> Any:
        return self.bridge.network

    async def __aenter__(self) -> Self:
        await self.bridge.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.bridge.stop()

    async def restart(self) -> None:
        """Stop wherever it is and start on the same database, as after a crash."""
        await self.bridge.stop()
        self._new()
        await self.bridge.start()

    async def push(self, *, times: int = 1) -> int:
        """The homeserver pushes what is new in one transaction, `times` times over; the number of events."""
        events, self.homeserver.unsent = self.homeserver.unsent, []
        ephemeral, self.homeserver.unsent_ephemeral = self.homeserver.unsent_ephemeral, []
        if not events and not ephemeral:
            return 0
        self._transactions += 1
        for _ in range(times):
            await self.push_transaction(str(self._transactions), events, ephemeral)
        return len(events) + len(ephemeral)

    async def push_transaction(
        self, txn_id: str, events: list[dict[str, Any]], ephemeral: list[dict[str, Any]] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One transaction as the homeserver would send it; status and body of the bridge's answer."""
        body = msgspec.json.encode({"events": events, "ephemeral": ephemeral or []})
        headers = {"authorization": f"Bearer {HS_TOKEN}"}
        return await self.bridge.listener.answer("PUT", f"/_matrix/app/v1/transactions/{txn_id}", headers, {}, body)

    async def settle(self) -> None:
        """Push and work until nothing moves any more."""
        await self.bridge.introduced()
        while True:
            await self.push()
            incoming, outgoing = self.bridge.incoming.queues, self.bridge.outgoing.queues
            await incoming.drained()
            await outgoing.drained()
            if incoming.idle and outgoing.idle and not self.homeserver.unsent:
                return


def remote_ghosts(room: FakeRoom, prefix: str = "_test_") -> list[str]:
    """The ghosts that are joined to a room."""
    pattern = re.compile(f"@{re.escape(prefix)}(?!bot:)")
    members = [key for event_type, key in room.state if event_type == "m.room.member"]
    return [user for user in members if pattern.match(user) and room.membership(user) == "join"]
