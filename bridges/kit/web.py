"""A small web server of a bridge's own: bounded requests, no access log (paths may hold what is nobody's business)."""

# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
from typing import Any

from twisted.web.server import Request, Site

from bridges.kit.reactor import installed_reactor

MAX_BODY = 32 * 1024 * 1024


class BoundedRequest(Request):
    """Stops reading a body that exceeds the site's limit, whether its length was announced or not."""

    received = 0

    def handleContentChunk(self, data: bytes) -> None:
        self.received += len(data)
        if self.received > getattr(self.site, "max_body", MAX_BODY):
            self.channel.loseConnection()
            return
        super().handleContentChunk(data)


class QuietSite(Site):
    """A site without access log. `max_body` in bytes."""

    displayTracebacks = False

    def __init__(self, resource: Any, *, max_body: int = MAX_BODY) -> None:
        super().__init__(resource, requestFactory=BoundedRequest, timeout=120)
        self.max_body = max_body

    def log(self, request: Any) -> None:
        """Nothing: the parts log what they do."""


async def stop_listening(port: Any) -> None:
    """Close an IListeningPort; None is closed already."""
    stopping = None if port is None else port.stopListening()
    if stopping is not None:
        await stopping.asFuture(asyncio.get_running_loop())


def listen(resource: Any, host: str, port: int, *, max_body: int = MAX_BODY) -> Any:
    """Serve on a TCP port (0: any free one) of the installed reactor; the answer is its IListeningPort."""
    return installed_reactor().listenTCP(port, QuietSite(resource, max_body=max_body), interface=host)
