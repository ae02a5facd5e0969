"""The web chat at the kit's fake homeserver: without sockets (`WebchatHarness`), or with a real street (`street`)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from bridges.kit.testing import BridgeHarness, FakeHomeserver
from bridges.webchat import Limits, Site, WebchatBridge, WebchatSettings
from bridges.webchat.connection import VisitorConnection
from bridges.webchat.door import Door
from bridges.webchat.doorbell import Doorbell
from bridges.webchat.network import WebchatNetwork

ORIGIN = "https://shop.example"
SITE = "shop"
MEI = "@mei:example.org"
SITES = (
    Site(key=SITE, origins=(ORIGIN,), staff=(MEI,), title="Shop"),
    Site(key="other", origins=("https://other.example",), staff=("@ben:example.org",), title="Other"),
)
GENEROUS = Limits(
    message_burst=10_000,
    address_message_burst=10_000,
    conversation_burst=10_000,
    site_conversation_burst=10_000,
    connect_burst=10_000,
    frame_burst=10_000,
    connections_per_address=10_000,
)


class FakeWire:
    """A socket that remembers; `lost` swallows everything, as a dead connection does."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.closed_with: int | None = None
        self.lost = False

    def send(self, data: bytes) -> None:
        if not self.lost and self.closed_with is None:
            self.frames.append(json.loads(data))

    def close(self, code: int, reason: str) -> None:
        self.closed_with = code


class Visitor:
    """A browser as the protocol sees it: a token, a place, and one connection after the other."""

    def __init__(self, harness: WebchatHarness, *, site: str = SITE, origin: str | None = ORIGIN) -> None:
        self.harness = harness
        self.site = site
        self.origin = origin
        self.token: str | None = None
        self.wire = FakeWire()
        self.connection: VisitorConnection | None = None

    async def connect(self, *, since: int = 0, address: str = "192.0.2.1", **more: Any) -> None:
        self.wire = FakeWire()
        self.connection = VisitorConnection(self.harness.door, self.origin, address, self.wire)
        self.harness.connections.append(self.connection)
        hello = {"type": "hello", "site": self.site, "token": self.token, "since": since, **more}
        await self.send(hello)
        for frame in self.wire.frames:
            if frame["type"] == "welcome":
                self.token = frame["token"]

    async def send(self, frame: dict[str, Any] | bytes) -> None:
        assert self.connection is not None
        self.connection.offer(frame if isinstance(frame, bytes) else json.dumps(frame).encode())
        await self.connection.idle()

    async def say(self, text: str, client_id: str) -> None:
        await self.send({"type": "message", "client_id": client_id, "text": text})

    async def settle(self) -> None:
        await self.harness.settle()
        if self.connection is not None:
            await self.connection.idle()

    def disconnect(self) -> None:
        assert self.connection is not None
        self.wire.lost = True
        self.connection.closed()

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.wire.frames if frame["type"] == kind]

    def texts(self) -> list[str]:
        return [frame["text"] for frame in self.of_type("event") if frame["kind"] == "message"]


class WebchatHarness(BridgeHarness):
    """A web chat without sockets: `Visitor`s on one side, the fake homeserver's people on the other."""

    def __init__(self, *, limits: Limits = GENEROUS, **more: Any) -> None:
        self.limits = limits
        self.connections: list[VisitorConnection] = []
        self.homeserver = more.pop("homeserver", None) or FakeHomeserver()
        self.homeserver.users[MEI] = "Mei"
        self.homeserver.users["@ben:example.org"] = "Ben"
        super().__init__(self._network, prefix="_web_", homeserver=self.homeserver, **more)

    def _network(self) -> WebchatNetwork:
        self.doorbell = Doorbell()
        return WebchatNetwork(SITES, self.doorbell)

    def _new(self) -> None:
        super()._new()
        self.door = Door(self.bridge, self.network.sites, self.doorbell, self.limits)

    async def restart(self) -> None:
        await self.hang_up()
        await super().restart()

    async def finish_errands(self) -> None:
        """Wait for what the visitors' connections left to be done."""
        while self.door.errands:
            await asyncio.wait(tuple(self.door.errands))

    async def hang_up(self) -> None:
        for connection in self.connections:
            connection.closed()
            await connection.ended()
        self.connections.clear()
        await self.door.close()

    async def __aexit__(self, *problem: Any) -> None:
        await self.hang_up()
        await super().__aexit__(*problem)

    async def welcome_staff(self, visitor: Visitor, number: int = 1) -> str:
        """Mei joins the newest conversation's room; its id."""
        await visitor.settle()
        room = self.homeserver.portal_rooms()[number - 1].room_id
        self.homeserver.join(room, MEI, "Mei")
        await visitor.settle()
        return room


@contextlib.asynccontextmanager
async def street(homeserver: FakeHomeserver, *, limits: Limits = GENEROUS) -> AsyncIterator[tuple[WebchatBridge, Any]]:
    """The real street side (sockets, pages) before a fake homeserver; the bridge, and a `settle` to be awaited."""
    harness = WebchatHarness(homeserver=homeserver)
    settings = WebchatSettings(bridge=harness.settings, sites=SITES, demo_site=SITE, limits=limits)
    chat = WebchatBridge(settings, requests=homeserver, clock=None)
    harness.bridge = chat.bridge
    await chat.start()
    try:
        yield chat, harness.settle
    finally:
        await chat.stop()
