"""Several homeservers in one process with real federation between them: requests go from one's client to another's
routes, signed and checked, without sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import msgspec
from signedjson.key import generate_signing_key

from federation.remote_servers import RemoteServers
from federation.server_discovery import ServiceRecord
from federation.services import FederationServices, FederationSettings, build_federation_services
from homeserver.composition import build
from homeserver.http.application import HttpApplication
from homeserver.http.request import StreamBody
from homeserver.http.routing import Router
from homeserver.outbound.client import OutboundAnswer, OutboundFailed
from homeserver.protocol.identifiers import ServerName
from homeserver.rooms.services import RoomSettings
from homeserver.storage.database import Database
from tests.support.clock import FakeClock
from tests.support.databases import open_in_memory
from tests.support.http import MemoryClient
from tests.support.openapi import validate_answer
from tests.support.outbound import FakeOutbound, SentRequest
from tests.support.server import Server, in_place, server_settings


@dataclass
class Network:
    """Who is reached by which name. `lost` says of a request whether it is lost on the way."""

    servers: dict[str, FederatedServer] = field(default_factory=dict)
    lost: Callable[[str, SentRequest], bool] = lambda origin, request: False
    requests: list[tuple[str, SentRequest]] = field(default_factory=list)

    async def carry(self, origin: str, request: SentRequest) -> OutboundAnswer:
        parts = urlsplit(request.url)
        self.requests.append((origin, request))
        there = self.servers.get(parts.netloc)
        if there is None or self.lost(origin, request) or not parts.path.startswith("/_matrix/"):
            raise OutboundFailed("not reached", f"nobody is at {parts.netloc}")
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {name.lower(): value for name, value in request.headers.items()}
        reply = await there.federation_application.respond(
            request.method, target, headers, request.body or b"", "192.0.2.1"
        )
        if isinstance(reply.body, StreamBody):
            body = b"".join([piece async for piece in reply.body.chunks])
        else:
            assert isinstance(reply.body, bytes)
            body = reply.body
            if isinstance(there, FederatedServer):  # a liar's answers are what it wants them to be
                validate_answer(request.method, parts.path, reply.status, msgspec.json.decode(body))
        return OutboundAnswer(reply.status, {name.lower(): value for name, value in reply.headers}, body)


@dataclass
class FederatedServer(Server):
    """A homeserver with federation."""

    federation: FederationServices = None  # type: ignore[assignment]
    federation_application: HttpApplication = None  # type: ignore[assignment]

    @property
    def name(self) -> str:
        return self.homeserver.settings.server_name

    async def close(self) -> None:
        await self.federation.stop()
        await super().close()


async def no_services(name: str) -> list[ServiceRecord]:
    return []


async def open_federated(
    network: Network,
    name: str,
    db: Database | None = None,
    federation_settings: FederationSettings | None = None,
    **changes: Any,
) -> FederatedServer:
    """A server called `name` on a network, with a key of its own."""
    settings = server_settings(
        server_name=name,
        rooms=RoomSettings(name),
        **{"signing_key": generate_signing_key(f"k{len(network.servers)}"), **changes},
    )
    settings = replace(settings, users=replace(settings.users, server_name=ServerName(name)))
    clock = FakeClock()
    outbound = FakeOutbound(lambda request: network.carry(name, request))
    remote = RemoteServers(name)
    homeserver = build(
        db or open_in_memory(), clock, settings, run_in_thread=in_place, outbound=outbound, remote=remote
    )
    rows = [*homeserver.client_routes, *homeserver.admin_routes]
    client = MemoryClient(HttpApplication(Router(rows), homeserver.authenticator, clock=clock))
    federation = build_federation_services(
        homeserver, remote, outbound, no_services, random.Random(name), federation_settings
    )
    server = FederatedServer(
        homeserver,
        clock,
        client,
        federation=federation,
        federation_application=HttpApplication(Router(federation.routes), homeserver.authenticator, clock=clock),
    )
    network.servers[name] = server
    await federation.start()
    return server


async def settle(*servers: FederatedServer) -> None:
    """Let everything that is under way between servers arrive."""
    quiet = 0
    for _ in range(2_000):
        await asyncio.sleep(0)
        quiet = quiet + 1 if all(server.federation.sender.is_idle for server in servers) else 0
        if quiet == 20:
            return
