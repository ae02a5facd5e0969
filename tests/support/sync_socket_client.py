"""A client of /sync over WebSocket, with a real socket (Autobahn)."""

# mypy: allow-untyped-calls, allow-subclassing-any

from __future__ import annotations

import asyncio
import json
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol

from homeserver.sync.socket import PATH

PATIENCE_SECONDS = 60


class _Protocol(WebSocketClientProtocol):
    owner: SyncSocketClient

    def onOpen(self) -> None:
        if not self.owner.opened.done():
            self.owner.opened.set_result(True)

    def onMessage(self, payload: bytes, is_binary: bool) -> None:
        self.owner.frames.put_nowait(json.loads(payload))

    def onClose(self, was_clean: bool, code: int | None, reason: str | None) -> None:
        self.owner.note_close(code, reason or "")


class SyncSocketClient:
    """One connection. `frames`: what came."""

    def __init__(self, port: int, *, query: str = "", headers: dict[str, str] | None = None, protocols: Any = None):
        from twisted.internet import reactor

        self.frames: asyncio.Queue[Any] = asyncio.Queue()
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[tuple[int | None, str]] = asyncio.get_running_loop().create_future()
        factory: Any = WebSocketClientFactory(
            f"ws://127.0.0.1:{port}{PATH}{query}", headers=headers, protocols=protocols, reactor=reactor
        )
        factory.setProtocolOptions(closeHandshakeTimeout=1, openHandshakeTimeout=PATIENCE_SECONDS)
        factory.noisy = False
        self.protocol: Any = None

        def build() -> _Protocol:
            self.protocol = _Protocol()
            self.protocol.owner = self
            return self.protocol  # type: ignore[no-any-return]

        factory.protocol = build
        connector: Any = reactor
        connector.connectTCP("127.0.0.1", port, factory)

    def note_close(self, code: int | None, reason: str) -> None:
        if not self.opened.done():
            self.opened.set_result(False)
        if not self.closed.done():
            self.closed.set_result((code, reason))

    def send(self, **frame: Any) -> None:
        self.protocol.sendMessage(json.dumps(frame).encode())

    async def hello(self, token: str | None = None, **frame: Any) -> Any:
        """The first frame, and what the server says to it."""
        assert await asyncio.wait_for(self.opened, PATIENCE_SECONDS)
        if token is not None:
            frame["token"] = token
        self.send(type="hello", **frame)
        return await self.next()

    async def next(self) -> Any:
        """The next frame."""
        return await asyncio.wait_for(self.frames.get(), PATIENCE_SECONDS)

    async def delta(self) -> Any:
        """The body of the next delta, acknowledged."""
        frame = await self.next()
        assert frame["type"] == "sync", frame
        self.send(type="ack", number=frame["number"])
        return frame["body"]

    async def end(self) -> tuple[int | None, str]:
        """How the server closed."""
        return await asyncio.wait_for(asyncio.shield(self.closed), PATIENCE_SECONDS)

    def cut(self) -> None:
        """The connection is lost without a word."""
        self.protocol.transport.abortConnection()

    async def close(self) -> None:
        if not self.closed.done() and self.protocol is not None:
            self.protocol.dropConnection(abort=True)
            await self.end()
