"""A server whose pushers are told by a gateway that only writes down: what the tests of push stand on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from homeserver.mail.mailer import Mailer
from homeserver.outbound.client import OutboundAnswer
from homeserver.push.services import PushSettings
from homeserver.storage.database import Database
from tests.support.clock import settle
from tests.support.outbound import FakeOutbound, SentRequest, json_answer
from tests.support.server import Server, User, open_server, server_settings

GATEWAY = "https://push.example.org/_matrix/push/v1/notify"


@dataclass
class Gateway:
    """Answers `rejected`, or whatever `answer` says. `told` are the notifications that it took."""

    told: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[SentRequest], OutboundAnswer] | None = None
    rejected: list[str] = field(default_factory=list)
    requests: list[SentRequest] = field(default_factory=list)

    def __call__(self, request: SentRequest) -> OutboundAnswer:
        self.requests.append(request)
        if self.answer is not None:
            answer = self.answer(request)
            if answer.status != 200:
                return answer
        self.told.append(request.json["notification"])
        return json_answer({"rejected": self.rejected})

    @property
    def events(self) -> list[str | None]:
        """The event IDs that it was told, in order; None where only a number changed."""
        return [one.get("event_id") for one in self.told]


def down(request: SentRequest) -> OutboundAnswer:
    """A gateway that is being repaired."""
    return OutboundAnswer(503)


@dataclass
class Phones:
    """The server and the gateway."""

    server: Server
    gateway: Gateway

    async def quiet(self) -> None:
        """Everything that is due has happened."""
        await settle(400)

    async def pass_time(self, seconds: float) -> None:
        await self.server.clock.advance(seconds)
        await self.quiet()

    async def add_pusher(self, user: User, pushkey: str = "key", **changes: Any) -> None:
        await user.post("/pushers/set", pusher(pushkey, **changes))
        await self.quiet()

    async def pair(self) -> tuple[User, User, str]:
        """Alice and Bob in a room of three, and what was told of it is forgotten."""
        alice, bob = await self.server.register("alice"), await self.server.register("bob")
        carol = await self.server.register("carol")
        room_id = await alice.create_room(preset="public_chat", name="Tea")
        await bob.join(room_id)
        await carol.join(room_id)
        return alice, bob, room_id


def pusher(pushkey: str = "key", **changes: Any) -> dict[str, Any]:
    """The body that sets a pusher of the app `org.example`."""
    data = {"url": GATEWAY, **changes.pop("data", {})}
    return {
        "app_id": "org.example",
        "pushkey": pushkey,
        "kind": "http",
        "app_display_name": "App",
        "device_display_name": "Phone",
        "lang": "en",
        "data": data,
        **changes,
    }


@asynccontextmanager
async def open_phones(
    db: Database | None = None, *, push: PushSettings | None = None, mailer: Mailer | None = None, starts: bool = True
) -> AsyncIterator[Phones]:
    """A server that notifies; `starts=False`: not yet."""
    gateway = Gateway()
    push = push or PushSettings()
    settings = server_settings(push=push)
    settings = replace(settings, users=replace(settings.users, trusted_push_gateways=push.trusted_gateways))
    server = open_server(db, settings, outbound=FakeOutbound(gateway), mailer=mailer)
    if starts:
        await server.homeserver.push.start()
    try:
        yield Phones(server, gateway)
    finally:
        await server.close()
