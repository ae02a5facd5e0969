"""A server of users alone: every service of users/ behind its real routes, in memory, on a clock that tests own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from homeserver.admin.register import SharedSecretRegistration
from homeserver.client_api.services import Services
from homeserver.client_api.user_routes import user_routes
from homeserver.client_api.versions import PublicFacts
from homeserver.hooks import Hooks
from homeserver.http.application import HttpApplication
from homeserver.http.authentication import BearerAuthenticator
from homeserver.http.rate_limits import FailedLoginLimiter, MessageLimiter
from homeserver.http.routing import Router
from homeserver.outbound.client import Outbound
from homeserver.protocol.identifiers import ServerName, parse_user_id
from homeserver.storage.database import Database
from homeserver.stream import Stream
from homeserver.users.passwords import PasswordSettings, RunInThread
from homeserver.users.registration import RegistrationSettings
from homeserver.users.services import UserServices, UserSettings, build_user_services
from tests.support import server
from tests.support.clock import FakeClock
from tests.support.databases import open_in_memory
from tests.support.http import Answer, MemoryClient
from tests.support.mail import Outbox
from tests.support.openapi import validate_answer
from tests.support.server import PASSWORD as PASSWORD
from tests.support.server import SHARED_SECRET as SHARED_SECRET
from tests.support.server import V1 as V1
from tests.support.server import V3 as V3
from tests.support.server import in_place as in_place

SERVER_NAME = ServerName(server.SERVER_NAME)
CHEAP_PASSWORDS = PasswordSettings(memory_kib=8, iterations=1)


@dataclass(frozen=True)
class FakeAppservice:
    """An application service whose users begin with `prefix`."""

    id: str
    as_token: str
    prefix: str
    sender: str

    def may_act_as(self, user_id: str) -> bool:
        return user_id == self.sender or (user_id.startswith(self.prefix) and user_id.endswith(f":{SERVER_NAME}"))


@dataclass
class FakeAppservices:
    """Implements `AppserviceRegistry` and `Namespaces`."""

    services: Sequence[FakeAppservice] = ()

    def find_by_token(self, as_token: str) -> FakeAppservice | None:
        return next((each for each in self.services if each.as_token == as_token), None)

    def owner_of_user(self, user_id: str) -> str | None:
        return next((each.id for each in self.services if each.may_act_as(user_id)), None)


IRC = FakeAppservice("irc", "as_token_of_irc", "@_irc_", f"@ircbot:{SERVER_NAME}")
TELEGRAM = FakeAppservice("telegram", "as_token_of_telegram", "@_tg_", f"@tgbot:{SERVER_NAME}")


@dataclass(frozen=True)
class Person:
    """Somebody with a session."""

    user_id: str
    token: str
    device_id: str
    refresh_token: str | None = None


@dataclass
class UserServer:
    """The server, and the short ways to use it that tests need."""

    db: Database
    clock: FakeClock
    stream: Stream
    services: UserServices
    client: MemoryClient
    hooks: Hooks
    appservices: FakeAppservices = field(default_factory=FakeAppservices)
    outbox: Outbox = field(default_factory=Outbox)

    async def register(self, name: str = "alice", *, password: str = PASSWORD, admin: bool = False) -> Person:
        """An account with a session."""
        user_id = f"@{name}:{SERVER_NAME}"
        await self.services.accounts.create_account(parse_user_id(user_id), password=password, is_admin=admin)
        return await self.log_in(name, password=password)

    async def log_in(self, name: str = "alice", *, password: str = PASSWORD, **body: Any) -> Person:
        answer = await self.post("/login", login_body(name, password, **body))
        assert answer.status == 200, answer.body
        return person_of(answer)

    async def request(
        self, method: str, path: str, json: Any = ..., *, token: str | None = None, query: dict[str, Any] | None = None
    ) -> Answer:
        """Any request; its answer is held against the specification's schema."""
        answer = await self.client.request(method, _full(path), json=json, token=token, query=query or None)
        if answer.headers["content-type"] == "application/json":
            validate_answer(method, _full(path), answer.status, answer.json)
        return answer

    async def get(self, path: str, *, token: str | None = None, **query: Any) -> Answer:
        return await self.request("GET", path, token=token, query=query)

    async def post(self, path: str, json: Any = ..., *, token: str | None = None, **query: Any) -> Answer:
        return await self.request("POST", path, json, token=token, query=query)

    async def put(self, path: str, json: Any = ..., *, token: str | None = None, **query: Any) -> Answer:
        return await self.request("PUT", path, json, token=token, query=query)

    async def delete(self, path: str, json: Any = ..., *, token: str | None = None, **query: Any) -> Answer:
        return await self.request("DELETE", path, json, token=token, query=query)

    async def with_password(
        self, method: str, path: str, body: dict[str, Any], *, token: str, password: str = PASSWORD
    ) -> Answer:
        """A request that asks for user-interactive authentication, answered with a password."""
        asked = await self.request(method, path, body, token=token)
        assert asked.status == 401, asked.body
        auth = {"type": "m.login.password", "session": asked.json["session"], "password": password}
        return await self.request(method, path, {**body, "auth": auth}, token=token)


def login_body(name: str, password: str = PASSWORD, **body: Any) -> dict[str, Any]:
    """The body of a password login."""
    identifier = {"type": "m.id.user", "user": name}
    return {"type": "m.login.password", "identifier": identifier, "password": password, **body}


def person_of(answer: Answer) -> Person:
    body = answer.json
    return Person(body["user_id"], body["access_token"], body["device_id"], body.get("refresh_token"))


def settings(registration: RegistrationSettings | None = None, **changes: Any) -> UserSettings:
    """Settings that are quick to test with; registration is open."""
    made = UserSettings(
        SERVER_NAME,
        passwords=CHEAP_PASSWORDS,
        registration=registration or RegistrationSettings(is_open=True, allows_guests=True),
    )
    return replace(made, **changes)


def open_user_server(
    db: Database | None = None,
    chosen: UserSettings | None = None,
    *,
    appservices: Sequence[FakeAppservice] = (),
    facts: PublicFacts | None = None,
    run_in_thread: RunInThread = in_place,
    outbound: Outbound | None = None,
) -> UserServer:
    """A server over `db`, or over a database in memory that goes with it. It sends e-mails (to `outbox`) when `chosen`
    has an `email.base_url`."""
    database = db or open_in_memory()
    clock = FakeClock()
    stream = Stream(database.position)
    hooks = Hooks()
    registry = FakeAppservices(appservices)
    outbox = Outbox(can_send=chosen is not None and chosen.email.base_url != "")
    services = build_user_services(
        database,
        clock,
        stream,
        FailedLoginLimiter(clock),
        chosen or settings(),
        hooks=hooks,
        appservices=registry,
        namespaces=registry,
        run_in_thread=run_in_thread,
        mailer=outbox,
        message_limiter=MessageLimiter(clock, 6),
        outbound=outbound,
        signing_key=server.signing_key(),
    )
    operator = SharedSecretRegistration(services.registration, clock, SHARED_SECRET)
    facts = facts or PublicFacts(public_base_url="https://matrix.halfdoor.test")
    rows = [*user_routes(Services(services, facts)), *operator.routes()]
    application = HttpApplication(Router(rows), BearerAuthenticator(services.authentication), clock=clock)
    return UserServer(database, clock, stream, services, MemoryClient(application), hooks, registry, outbox)


def _full(path: str) -> str:
    return path if path.startswith(("/_", "/.")) else V3 + path
