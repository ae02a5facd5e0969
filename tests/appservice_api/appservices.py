"""Application services for tests: registrations, and a service that is not there, at the other end of no wire."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import msgspec

from homeserver.appservice_api.client import AppserviceAnswer
from homeserver.appservice_api.registration import Appservice, parse_registration
from homeserver.composition import build
from homeserver.http.application import HttpApplication
from homeserver.http.routing import Router
from homeserver.storage.database import Database
from tests.support.clock import FakeClock, settle
from tests.support.databases import open_in_memory
from tests.support.http import MemoryClient
from tests.support.server import SERVER_NAME, Server, User, in_place, server_settings


def document(name: str = "irc", **changes: Any) -> dict[str, Any]:
    """A registration that is right, with `changes`."""
    return {
        "id": name,
        "url": f"http://{name}.test",
        "as_token": f"as_token of {name}",
        "hs_token": f"hs_token of {name}",
        "sender_localpart": f"{name}bot",
        "namespaces": {
            "users": [{"exclusive": True, "regex": f"@_{name}_.*:{SERVER_NAME}"}],
            "aliases": [{"exclusive": True, "regex": f"#_{name}_.*:{SERVER_NAME}"}],
            "rooms": [],
        },
        **changes,
    }


def registration(name: str = "irc", **changes: Any) -> Appservice:
    return parse_registration(document(name, **changes), SERVER_NAME, source=name)


@dataclass
class Received:
    """One transaction as the service got it."""

    appservice_id: str
    txn_id: int
    content: dict[str, Any]

    @property
    def bodies(self) -> list[str]:
        return [event["content"]["body"] for event in self.content["events"] if "body" in event["content"]]


@dataclass
class FakeCalls:
    """Implements `AppserviceCalls`. `statuses` are answered one after the other, then 200 for ever."""

    received: list[Received] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    aliases: dict[str, int] = field(default_factory=dict)
    users: dict[str, Any] = field(default_factory=dict)
    """The status of the answer by user, or what makes the user."""
    asked: list[str] = field(default_factory=list)
    networks: dict[str, Any] = field(default_factory=dict)
    """What is answered below /thirdparty, by path."""
    pong: AppserviceAnswer = field(default_factory=lambda: AppserviceAnswer(200, b"{}"))

    async def send(self, appservice: Appservice, txn_id: int, content: dict[str, Any]) -> AppserviceAnswer:
        decoded = json.loads(msgspec.json.encode(content))
        self.received.append(Received(appservice.id, txn_id, decoded))
        return AppserviceAnswer(self.statuses.pop(0) if self.statuses else 200)

    async def ask_user(self, appservice: Appservice, user_id: str) -> AppserviceAnswer:
        self.asked.append(user_id)
        status = self.users.get(user_id, 404)
        if callable(status):
            await status()
            status = 200
        return AppserviceAnswer(status)

    async def ask_alias(self, appservice: Appservice, alias: str) -> AppserviceAnswer:
        self.asked.append(alias)
        return AppserviceAnswer(self.aliases.get(alias, 404))

    async def ping(self, appservice: Appservice, transaction_id: str | None) -> AppserviceAnswer:
        return self.pong

    async def ask_network(self, appservice: Appservice, path: str) -> AppserviceAnswer:
        answer = self.networks.get(path)
        return AppserviceAnswer(404) if answer is None else AppserviceAnswer(200, msgspec.json.encode(answer))

    @property
    def bodies(self) -> list[str]:
        """The messages of all transactions, each number counted once, as a service that keeps the last number does."""
        seen: dict[tuple[str, int], Received] = {(one.appservice_id, one.txn_id): one for one in self.received}
        return [body for one in seen.values() for body in one.bodies]


async def open_with_appservices(
    *appservices: Appservice, calls: FakeCalls | None = None, db: Database | None = None, clock: FakeClock | None = None
) -> tuple[Server, FakeCalls]:
    """A server with these application services, started."""
    clock, calls = clock or FakeClock(), calls or FakeCalls()
    homeserver = build(
        db or open_in_memory(),
        clock,
        server_settings(),
        run_in_thread=in_place,
        appservices=appservices,
        appservice_calls=calls,
    )
    application = HttpApplication(Router(homeserver.client_routes), homeserver.authenticator, clock=clock)
    await homeserver.start()
    await settle()
    return Server(homeserver, clock, MemoryClient(application)), calls


def acting(server: Server, appservice: Appservice) -> User:
    """The service's own user."""
    return User(server, appservice.sender, appservice.as_token, "")


async def ghost(server: Server, appservice: Appservice, localpart: str) -> str:
    """Register a user of the service's namespace; its id."""
    body = {"type": "m.login.application_service", "username": localpart, "inhibit_login": True}
    answer = await acting(server, appservice).post("/register", body)
    user_id: str = answer["user_id"]
    return user_id
