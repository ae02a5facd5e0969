"""The HTTP side: the widget under its plain and its versioned path, the files that staff sent, the demo page.

Everything has a strict Content-Security-Policy and nosniff; the widget may be loaded by any page (CORS), for which the
versioned path with its integrity hash is the recommended way (W34).
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.web.http import CACHED
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from bridges.kit import Bridge
from bridges.kit.client import GaveUp, Refused
from bridges.webchat.conversations import Conversations
from bridges.webchat.projection import sniff_image

log = logging.getLogger(__name__)

WIDGET = Path(__file__).parent / "widget"
NOWHERE = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' {ws}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)


class Plain(Resource):
    """Answers GET and HEAD; anything else is 405 in plain text."""

    def render(self, request: Request) -> Any:
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader("Allow", "GET, HEAD")
            return _refused(request, 405, b"Only GET is possible here.\n")
        return super().render(request)

    def render_GET(self, request: Request) -> Any:
        return _not_found(request)


class Content(Plain):
    """Ready bytes with an ETag."""

    isLeaf = True

    def __init__(
        self, body: bytes, content_type: str, cache: str, *, policy: str = NOWHERE, cors: bool = False
    ) -> None:
        super().__init__()
        self._body = body
        self._headers = {
            "Content-Type": content_type,
            "Cache-Control": cache,
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        if cors:
            self._headers |= {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
        self._etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'.encode()

    def render_GET(self, request: Request) -> bytes:
        for name, value in self._headers.items():
            request.setHeader(name, value)
        if request.postpath not in ([], [b""]):
            return _not_found(request)
        # Twisted answers 304 and HEAD for us from the ETag.
        return b"" if request.setETag(self._etag) is CACHED else self._body


class File(Plain):
    """/webchat/files/{id}: what staff attached, from the homeserver. The random id is the permission to read it."""

    isLeaf = True

    def __init__(self, bridge: Bridge, largest: int) -> None:
        super().__init__()
        self._bridge = bridge
        self._largest = largest
        self._running: set[asyncio.Task[None]] = set()

    def render_GET(self, request: Request) -> bytes | int:
        names = request.postpath or []
        if len(names) != 1:
            return _not_found(request)
        task = asyncio.get_running_loop().create_task(self._respond(request, names[0].decode("latin-1")))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        request.notifyFinish().addErrback(lambda _: task.cancel())
        return NOT_DONE_YET

    async def _respond(self, request: Request, file_id: str) -> None:
        try:
            found = await Conversations(self._bridge.store).find_file(file_id)
            answer = await self._bridge.client.download(found[0], self._largest) if found else None
        except (Refused, GaveUp, ValueError) as error:
            log.info("a file could not be given: %s", error)
            found = answer = None
        if found is None or answer is None:
            request.write(_not_found(request))
        else:
            image = sniff_image(answer.body)
            disposition = "inline" if image else "attachment"
            request.setHeader("Content-Type", image or "application/octet-stream")
            request.setHeader("Content-Disposition", f"{disposition}; filename*=UTF-8''{quote(found[1], safe='')}")
            request.setHeader("Content-Security-Policy", NOWHERE)
            request.setHeader("X-Content-Type-Options", "nosniff")
            request.setHeader("Cross-Origin-Resource-Policy", "cross-origin")
            request.setHeader("Cache-Control", "private, max-age=3600")
            request.write(answer.body)
        request.finish()


class NotFound(Plain):
    """Whatever else is asked for."""

    isLeaf = True


class Folder(Plain):
    """A folder that does not list itself."""

    def add(self, name: str, child: Any) -> None:
        self.putChild(name.encode(), child)

    def getChild(self, path: bytes, request: Request) -> Any:
        return NotFound()


class Pages(Folder):
    """/webchat: the root of what browsers see."""

    def __init__(self, bridge: Bridge, socket: Any, largest_file: int) -> None:
        super().__init__()
        source = (WIDGET / "widget.js").read_bytes()
        self.version = hashlib.sha256(source).hexdigest()[:12]
        self.integrity = "sha384-" + base64.b64encode(hashlib.sha384(source).digest()).decode()
        script = "text/javascript; charset=utf-8"
        self.add("widget.js", Content(source, script, "public, max-age=300, must-revalidate", cors=True))
        versioned = Folder()
        forever = "public, max-age=31536000, immutable"
        versioned.add("widget.js", Content(source, script, forever, cors=True))
        self.add(self.version, versioned)
        self.add("ws", socket)
        self.add("files", File(bridge, largest_file))

    def add_demo(self, site: str, websocket_url: str) -> None:
        """/webchat/demo, a small shop that embeds the widget for `site`."""
        page = (WIDGET / "demo.html").read_text()
        for name, value in {"SITE": site, "INTEGRITY": self.integrity, "VERSION": self.version}.items():
            page = page.replace("{{" + name + "}}", html.escape(value, quote=True))
        policy = PAGE_POLICY.format(ws=websocket_url)
        self.add("demo", Content(page.encode(), "text/html; charset=utf-8", "no-cache", policy=policy))
        style = (WIDGET / "demo.css").read_bytes()
        self.add("demo.css", Content(style, "text/css; charset=utf-8", "no-cache"))


def _not_found(request: Request) -> bytes:
    return _refused(request, 404, b"There is nothing here.\n")


def _refused(request: Request, status: int, message: bytes) -> bytes:
    request.setResponseCode(status)
    for name in ("ETag", "Cache-Control", "Content-Disposition"):
        request.responseHeaders.removeHeader(name)
    request.setHeader("Content-Type", "text/plain; charset=utf-8")
    request.setHeader("Content-Security-Policy", NOWHERE)
    request.setHeader("X-Content-Type-Options", "nosniff")
    return message
