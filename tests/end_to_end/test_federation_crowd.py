"""One room with very many servers over real sockets and TLS, half of them dead (B30).

By hand, with all that is measured: HALFDOOR_CROWD=1000 pytest -s tests/end_to_end/test_federation_crowd.py
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from signedjson.key import generate_signing_key

from federation.remote_servers import RemoteServers
from federation.services import FederationServices, build_federation_services
from federation.turns import Lane
from homeserver.clock import SystemClock
from homeserver.composition import build
from homeserver.http.application import HttpApplication
from homeserver.http.limits import open_descriptors
from homeserver.http.routing import Router
from homeserver.outbound.address_guard import AddressGuard
from homeserver.outbound.client import OutboundClient
from homeserver.protocol.identifiers import ServerName
from homeserver.rooms.services import RoomSettings
from tests.support.authority import Authority
from tests.support.databases import open_in_memory
from tests.support.federation import no_services
from tests.support.halfdoor_process import REPOSITORY
from tests.support.http import MemoryClient
from tests.support.server import Server, in_place, server_settings

COUNT = int(os.environ.get("HALFDOOR_CROWD", "120"))
NAME = "one.test"

pytestmark = pytest.mark.end_to_end


class Crowd:
    """The others, as a process."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.addresses = [str(ipaddress.ip_address("127.0.1.0") + number) for number in range(COUNT)]
        self.living = {address for address in self.addresses if int(address.rpartition(".")[2]) % 2 == 0}
        certificate, key = authority.certificate(*self.addresses)
        self._log = (folder / "crowd.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crowd_process", str(certificate), str(key)],
            cwd=REPOSITORY,
            stdout=self._log,
        )
        self._path = folder / "crowd.log"
        end = time.monotonic() + 60
        while not self.lines():
            assert time.monotonic() < end
            time.sleep(0.05)
        self.port = self.lines()[0]
        self.names = [f"{address}:{self.port}" for address in self.addresses]

    def lines(self) -> list[Any]:
        text = self._path.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def heard(self, body: str) -> dict[str, float]:
        """When each server heard of an event."""
        return {address: when for address, bodies, when in self.lines()[1:] if body in bodies}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


@pytest.fixture
def crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crowd]:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    found = Crowd(tmp_path, authority)
    yield found
    found.close()


def memory() -> float:
    """MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


async def until(condition: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        await asyncio.sleep(0.05)


async def test_B30_real_servers_half_of_them_dead(crowd: Crowd, reactor: Any) -> None:
    settings = server_settings(server_name=NAME, rooms=RoomSettings(NAME), signing_key=generate_signing_key("k"))
    settings = replace(settings, users=replace(settings.users, server_name=ServerName(NAME)))
    remote = RemoteServers(NAME)
    homeserver = build(open_in_memory(), SystemClock(), settings, run_in_thread=in_place, remote=remote)
    outbound = OutboundClient(AddressGuard(["127.0.0.0/8"], (), ()), "Halfdoor", reactor)
    federation: FederationServices = build_federation_services(
        homeserver, remote, outbound, no_services, random.Random(1)
    )
    client = MemoryClient(
        HttpApplication(Router(homeserver.client_routes), homeserver.authenticator, clock=SystemClock())
    )
    server = Server(homeserver, SystemClock(), client)  # type: ignore[arg-type]
    await federation.start()
    alice = await server.register("alice")
    room_id = await alice.create_room(preset="public_chat")
    room = await homeserver.rooms.live.get(room_id)
    for name in crowd.names:
        room.set_member(f"@somebody:{name}", "join")
    try:
        before, descriptors = memory(), open_descriptors()
        most = 0
        for number in range(4):
            cpu, began = time.process_time(), time.time()
            await alice.say(room_id, f"{number}")
            await until(lambda number=number: crowd.heard(f"{number}").keys() == crowd.living)
            most = max(most, open_descriptors() - descriptors)
            slowest = max(crowd.heard(f"{number}").values()) - began
            sys.stdout.write(
                f"event {number}: the last of {len(crowd.living)} heard it after {slowest:.2f} s;"
                f" CPU {time.process_time() - cpu:.2f} s, memory +{memory() - before:.1f} MiB,"
                f" descriptors +{open_descriptors() - descriptors},"
                f" under way {federation.sender._turns.running}, failing {federation.backoff.failing}\n"
            )
        assert federation.sender._turns.running <= sum(lane.value[1] for lane in Lane)
        await until(lambda: federation.sender.counts.events >= 4 * len(crowd.living))
        assert not {name.rpartition(":")[0] for name in federation.sender._told} - crowd.living
    finally:
        await federation.stop()
        await homeserver.close()
        await homeserver.db.close()
