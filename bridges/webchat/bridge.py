"""The web chat, built in order: the kit's bridge towards the homeserver, the door and the pages towards the street."""

# mypy: allow-untyped-calls

from __future__ import annotations

import html
import logging
from typing import Any
from urllib.parse import urlsplit

import msgspec
from autobahn.twisted.resource import WebSocketResource
from twisted.web.resource import Resource

from bridges.kit import Bridge, Clock
from bridges.kit.reactor import installed_reactor
from bridges.kit.requests import Requests
from bridges.kit.web import listen, stop_listening
from bridges.webchat.door import Door
from bridges.webchat.doorbell import Doorbell
from bridges.webchat.network import WebchatNetwork
from bridges.webchat.pages import NotFound, Pages
from bridges.webchat.settings import WebchatSettings, normal_origin
from bridges.webchat.websocket import VisitorFactory

log = logging.getLogger(__name__)

MAX_REQUEST = 64 * 1024
NAME_SUFFIX = " (web)"
"""What follows each visitor's name when the settings say nothing: he chose the name himself (W20)."""
ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104
LOOPBACK = ("127.0.0.1", "localhost")


class WebchatBridge:
    """Runs inside halfdoor's process or alone. Towards the homeserver it listens where `settings.bridge` says.

    Towards browsers it listens on `web_host:web_port`; with `listen_web` False nothing is opened there, and the caller
    mounts `resource` as the child `webchat` of his own Twisted site (then `settings.public_url` must be given).
    `requests` and `clock` are for tests.
    """

    def __init__(
        self,
        settings: WebchatSettings,
        *,
        listen_web: bool = True,
        requests: Requests | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not listen_web and not settings.public_url:
            raise ValueError("a web chat on somebody else's listener must be told its public_url")
        self.settings = settings
        self.doorbell = Doorbell()
        self.network = WebchatNetwork(settings.sites, self.doorbell)
        own = settings.bridge
        if not own.name_suffix:
            own = msgspec.structs.replace(own, name_suffix=NAME_SUFFIX)
        self.bridge = Bridge(self.network, own, requests=requests, clock=clock)
        self.door = Door(self.bridge, self.network.sites, self.doorbell, settings.limits)
        self.sockets = VisitorFactory(self.door, installed_reactor(), settings.trusted_proxies)
        self.resource = Pages(self.bridge, WebSocketResource(self.sockets), settings.limits.largest_file)
        self.public_url = settings.public_url.rstrip("/")
        self._listens = listen_web
        self._listening: Any = None

    async def start(self) -> None:
        """Open everything. The homeserver need not be there yet."""
        await self.bridge.start()
        self.sockets.startFactory()
        if self._listens:
            root: Any = Resource()
            root.putChild(b"webchat", self.resource)
            root.putChild(b"", NotFound())
            self._listening = listen(root, self.settings.web_host, self.settings.web_port, max_body=MAX_REQUEST)
            if not self.public_url:
                host = "127.0.0.1" if self.settings.web_host in ANYWHERE else self.settings.web_host
                self.public_url = f"http://{host}:{self._listening.getHost().port}"
        if self.settings.demo_site:
            self._open_demo(self.settings.demo_site)
        for site in self.settings.sites:
            log.info("embed the web chat with: %s", self.script_tag(site.key))

    async def stop(self) -> None:
        """Stop listening, take in what visitors had sent, stop the bridge; the rest goes on at the next start."""
        await stop_listening(self._listening)
        await self.sockets.close_all()
        self.sockets.stopFactory()
        await self.door.close()
        await self.bridge.stop()

    @property
    def demo_url(self) -> str:
        """Where the demo page is, or '' when there is none."""
        return f"{self.public_url}/webchat/demo" if self.settings.demo_site else ""

    @property
    def appservice_port(self) -> int:
        """The port on which the homeserver reaches this bridge."""
        return self.bridge.port

    def script_tag(self, site: str) -> str:
        """The line that a page needs, pinned to this very version of the widget."""
        url = html.escape(f"{self.public_url}/webchat/{self.resource.version}/widget.js", quote=True)
        integrity = f'integrity="{self.resource.integrity}" crossorigin="anonymous"'
        return f'<script src="{url}" data-site="{html.escape(site, quote=True)}" {integrity} async></script>'

    def _open_demo(self, site: str) -> None:
        origin = normal_origin(self.public_url) or self.public_url
        parts = urlsplit(origin)
        self.door.allow_origin(site, origin)
        scheme = "wss" if parts.scheme == "https" else "ws"
        hosts = {parts.netloc}
        if parts.hostname in LOOPBACK:
            hosts = {f"{name}:{parts.port}" if parts.port else name for name in LOOPBACK}
            for host in hosts:
                self.door.allow_origin(site, f"{parts.scheme}://{host}")
        self.resource.add_demo(site, " ".join(f"{scheme}://{host}" for host in sorted(hosts)))
