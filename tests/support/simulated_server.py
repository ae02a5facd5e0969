"""A homeserver of the simulation: the real one, federation included, which can crash and start again on its disk."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from functools import cache
from typing import Any

from signedjson.key import decode_signing_key_base64
from unpaddedbase64 import encode_base64

from federation.remote_servers import RemoteServers
from federation.services import FederationServices, build_federation_services
from homeserver.composition import Homeserver, ServerSettings, build
from homeserver.http.application import HttpApplication
from homeserver.http.routing import Router
from homeserver.protocol.identifiers import ServerName
from homeserver.rooms.services import RoomSettings
from tests.support.databases import open_in_memory
from tests.support.federation import no_services
from tests.support.http import Answer, MemoryClient
from tests.support.outbound import FakeOutbound
from tests.support.server import in_place, open_server, server_settings
from tests.support.simulated_network import SimulatedNetwork
from tests.support.simulated_storage import Disk
from tests.support.virtual_loop import Process, ProcessClock, VirtualLoop, run_virtually

USERS = ("u", "v")
USED = re.compile(r"/v3/(createRoom|join|rooms|profile|sendToDevice|sync)\b")
"""The paths that the users of the simulation ask; it takes a while to make routes of all the others."""


class SimulatedServer:
    """One server. `tokens`: the session of each of its users, by user id."""

    def __init__(
        self, name: str, loop: VirtualLoop, network: SimulatedNetwork, disk: Disk, chance: random.Random, skew_ms: int
    ) -> None:
        self.name = name
        self.disk = disk
        self.tokens = prepared(name)[1]
        self.process = Process(name)
        self.process.alive = False
        self.homeserver: Homeserver
        self.federation: FederationServices
        self.federation_application: HttpApplication
        self.client: MemoryClient
        self.is_up = False
        """Whether it listens, which it does once it has started."""
        self._loop = loop
        self._network = network
        self._chance = chance
        self._skew_ms = skew_ms
        self._settings = settings_of(name)
        network.hosts[name] = self

    async def start(self) -> None:
        """Start, or start again after a crash."""
        assert not self.process.alive
        self.process = Process(self.name)
        await self.process.run(self._start(self.process))
        self.is_up = True

    async def _start(self, process: Process) -> None:
        clock = ProcessClock(self._loop, process, self._skew_ms)
        outbound = FakeOutbound(lambda request: self._network.carry(self.name, process, request))
        remote = RemoteServers(self.name)
        self.homeserver = homeserver = build(
            self.disk.open(process), clock, self._settings, run_in_thread=in_place, outbound=outbound, remote=remote
        )
        chance = random.Random(self._chance.random())
        self.federation = build_federation_services(homeserver, remote, outbound, no_services, chance)
        used = [route for route in homeserver.client_routes if USED.search(route.path)]
        client_routes, federation_routes = Router(used), Router(self.federation.routes)
        self.client = MemoryClient(HttpApplication(client_routes, homeserver.authenticator, clock=clock))
        self.federation_application = HttpApplication(federation_routes, homeserver.authenticator, clock=clock)
        await self.federation.start()

    async def crash(self) -> None:
        """The process is gone, and what it had not committed."""
        if self.process.alive:
            self.is_up = False
            await self.process.kill()
            self.disk.cut()

    async def request(self, user_id: str, method: str, path: str, json: Any = ..., **query: Any) -> Answer | None:
        """A request of a client; None when the server dies, or is not up."""
        if not self.is_up:
            return None
        return await self.process.run(
            self.client.request(
                method, f"/_matrix/client/v3{path}", json=json, token=self.tokens[user_id], query=query or None
            )
        )

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits to be told to other servers."""
        if not self.process.alive:
            return True
        sender = self.federation.sender
        return sender.is_idle and not (sender._queues or sender._behind or sender._with_stored_edus)


@cache
def settings_of(name: str) -> ServerSettings:
    """With a signing key that is the same in every run."""
    seed = encode_base64(random.Random(name).randbytes(32))
    settings = server_settings(
        server_name=name, rooms=RoomSettings(name), signing_key=decode_signing_key_base64("ed25519", "sim", seed)
    )
    return replace(settings, users=replace(settings.users, server_name=ServerName(name)))


@cache
def prepared(name: str) -> tuple[bytes, dict[str, str]]:
    """The database of a server that has users and no rooms, and the tokens of the users."""

    async def main() -> tuple[bytes, dict[str, str]]:
        db = open_in_memory()
        server = open_server(db, settings_of(name))
        users = [await server.register(user) for user in USERS]
        image = db._connection.serialize()
        await server.close()
        return image, {user.user_id: user.token for user in users}

    return run_virtually(main, f"prepared {name}")
