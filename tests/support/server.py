"""A whole homeserver in memory, on a clock that tests own; every answer is held against the specification's OpenAPI."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from signedjson.key import decode_signing_key_base64
from signedjson.types import SigningKey

from homeserver.client_api.versions import PublicFacts
from homeserver.composition import Homeserver, ServerSettings, build
from homeserver.http.application import HttpApplication
from homeserver.http.routing import Router
from homeserver.mail.mailer import Mailer
from homeserver.media.services import MediaSettings
from homeserver.outbound.client import Outbound
from homeserver.protocol.identifiers import ServerName
from homeserver.rooms.services import RoomSettings
from homeserver.storage.database import Database
from homeserver.users.passwords import PasswordSettings
from homeserver.users.registration import RegistrationSettings
from homeserver.users.services import UserSettings
from tests.support.clock import FakeClock
from tests.support.databases import open_in_memory
from tests.support.http import Answer, MemoryClient
from tests.support.openapi import validate_answer

T = TypeVar("T")
SERVER_NAME = "halfdoor.test"
SHARED_SECRET = "a secret of the operator"
PASSWORD = "correct horse battery"
V3 = "/_matrix/client/v3"
V1 = "/_matrix/client/v1"


async def in_place(call: Callable[[], T]) -> T:
    """A worker thread that is none."""
    return call()


def signing_key() -> SigningKey:
    """The same key in every run."""
    return decode_signing_key_base64("ed25519", "test", "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")


@functools.cache
def media_folder() -> Path:
    """Where tests that say nothing of it keep files; gone when the tests end."""
    folder = tempfile.mkdtemp(prefix="halfdoor-media-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def server_settings(**changes: Any) -> ServerSettings:
    """Settings that are quick to test with; registration is open. `changes` replace fields."""
    made = ServerSettings(
        server_name=SERVER_NAME,
        signing_key=signing_key(),
        facts=PublicFacts(public_base_url=f"https://matrix.{SERVER_NAME}"),
        registration_shared_secret=SHARED_SECRET,
        users=UserSettings(
            ServerName(SERVER_NAME),
            passwords=PasswordSettings(memory_kib=8, iterations=1),
            registration=RegistrationSettings(is_open=True, allows_guests=True),
        ),
        rooms=RoomSettings(SERVER_NAME),
        media=MediaSettings(media_folder()),
    )
    return replace(made, **changes)


@dataclass
class User:
    """Somebody with a session; the methods are requests in their name."""

    server: Server
    user_id: str
    token: str
    device_id: str
    since: str | None = None
    transactions: int = 0

    async def request(self, method: str, path: str, json: Any = ..., **query: Any) -> Answer:
        return await self.server.request(method, path, json, token=self.token, **query)

    async def get(self, path: str, **query: Any) -> Any:
        """A GET that succeeds: its body."""
        return (await self.ok("GET", path, **query)).json

    async def post(self, path: str, json: Any = ..., **query: Any) -> Any:
        """A POST that succeeds: its body."""
        return (await self.ok("POST", path, {} if json is ... else json, **query)).json

    async def put(self, path: str, json: Any = ..., **query: Any) -> Any:
        """A PUT that succeeds: its body."""
        return (await self.ok("PUT", path, {} if json is ... else json, **query)).json

    async def ok(self, method: str, path: str, json: Any = ..., **query: Any) -> Answer:
        answer = await self.request(method, path, json, **query)
        assert answer.status == 200, f"{method} {path}: {answer.status} {answer.body[:500]!r}"
        return answer

    async def create_room(self, **body: Any) -> str:
        room_id: str = (await self.post("/createRoom", body))["room_id"]
        return room_id

    async def join(self, room_id: str) -> None:
        await self.post(f"/rooms/{room_id}/join")

    async def invite(self, room_id: str, other: User) -> None:
        await self.post(f"/rooms/{room_id}/invite", {"user_id": other.user_id})

    async def say(self, room_id: str, body: str, **content: Any) -> str:
        """Send a text message; its event id."""
        return await self.send(room_id, "m.room.message", {"msgtype": "m.text", "body": body, **content})

    async def send(self, room_id: str, event_type: str, content: Mapping[str, Any]) -> str:
        self.transactions += 1
        path = f"/rooms/{room_id}/send/{event_type}/t{self.transactions}"
        event_id: str = (await self.put(path, content))["event_id"]
        return event_id

    async def set_state(self, room_id: str, event_type: str, content: Mapping[str, Any], state_key: str = "") -> str:
        event_id: str = (await self.put(f"/rooms/{room_id}/state/{event_type}/{state_key}", content))["event_id"]
        return event_id

    async def sync(self, **query: Any) -> Any:
        """The next sync, from where the last one ended."""
        if self.since is not None:
            query.setdefault("since", self.since)
        body = await self.get("/sync", **query)
        self.since = body["next_batch"]
        return body


@dataclass
class Server:
    """The server, and the short ways to use it that tests need."""

    homeserver: Homeserver
    clock: FakeClock
    client: MemoryClient

    async def request(
        self, method: str, path: str, json: Any = ..., *, token: str | None = None, **query: Any
    ) -> Answer:
        """One request; the answer is validated against the specification."""
        full = path if path.startswith(("/_", "/.")) else V3 + path
        answer = await self.client.request(method, full, json=json, token=token, query=query or None)
        if "org.matrix.msc4140.delay" not in query:  # which changes what the answer is
            validate_answer(method, full, answer.status, answer.json if answer.body else None)
        return answer

    async def register(self, name: str = "alice", *, admin: bool = False, **body: Any) -> User:
        """A new account with a session."""
        if admin:
            from homeserver.protocol.identifiers import parse_user_id

            user_id = parse_user_id(f"@{name}:{SERVER_NAME}")
            await self.homeserver.users.accounts.create_account(user_id, password=PASSWORD, is_admin=True)
            return await self.log_in(name)
        wanted = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}, **body}
        return self._user(await self.request("POST", "/register", wanted))

    async def log_in(self, name: str = "alice", **body: Any) -> User:
        """A further session of an account."""
        identifier = {"type": "m.id.user", "user": name}
        wanted = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD, **body}
        return self._user(await self.request("POST", "/login", wanted))

    def _user(self, answer: Answer) -> User:
        assert answer.status == 200, answer.body
        body = answer.json
        return User(self, body["user_id"], body["access_token"], body["device_id"])

    async def close(self) -> None:
        await self.homeserver.close()
        await self.homeserver.db.close()


def open_server(
    db: Database | None = None,
    settings: ServerSettings | None = None,
    *,
    outbound: Outbound | None = None,
    mailer: Mailer | None = None,
) -> Server:
    """A server over `db`, or over a database in memory that goes with it."""
    clock = FakeClock()
    homeserver = build(
        db or open_in_memory(),
        clock,
        settings or server_settings(),
        run_in_thread=in_place,
        outbound=outbound,
        mailer=mailer,
    )
    rows = [*homeserver.client_routes, *homeserver.admin_routes]
    application = HttpApplication(Router(rows), homeserver.authenticator, clock=clock)
    return Server(homeserver, clock, MemoryClient(application))
