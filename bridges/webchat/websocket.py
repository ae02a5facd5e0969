"""The visitors' WebSocket, over Autobahn: the origin check, the real address, timeouts. The rest is connection.py."""

# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny

from bridges.webchat import frames
from bridges.webchat.connection import VisitorConnection
from bridges.webchat.door import Door


class VisitorProtocol(WebSocketServerProtocol):
    """One socket. Autobahn calls the on… methods."""

    factory: VisitorFactory
    connection: VisitorConnection | None = None
    hello_timer: asyncio.TimerHandle | None = None
    entered = False

    def onConnect(self, request: Any) -> None:
        door = self.factory.door
        self.origin = request.headers.get("origin")
        if not door.knows_origin(self.origin):
            raise ConnectionDeny(403, "this page may not open a chat")
        self.address = self.factory.address_of(request)
        if not door.enter(self.address):
            raise ConnectionDeny(429, "too many connections")
        self.entered = True

    def onOpen(self) -> None:
        self.factory.protocols.add(self)
        self.connection = VisitorConnection(self.factory.door, self.origin, self.address, self)
        seconds = self.factory.door.limits.hello_seconds
        self.hello_timer = asyncio.get_running_loop().call_later(seconds, self._check_greeted)

    def onMessage(self, payload: bytes, is_binary: bool) -> None:
        if self.connection is None:
            return
        if is_binary:
            self.close(frames.CLOSE_BAD_FRAME, "text frames only")
        else:
            self.connection.offer(payload)

    def onClose(self, was_clean: bool, code: int | None, reason: str | None) -> None:
        self.factory.protocols.discard(self)
        if self.hello_timer is not None:
            self.hello_timer.cancel()
        if self.connection is not None:
            self.connection.closed()
            self.factory.finish(self.connection)
        if self.entered:
            self.entered = False
            self.factory.door.leave(self.address)

    def _check_greeted(self) -> None:
        if self.connection is not None and not self.connection.greeted:
            self.close(frames.CLOSE_HELLO_FIRST, "no hello")

    # As Wire.

    def send(self, data: bytes) -> None:
        self.sendMessage(data, isBinary=False)

    def close(self, code: int, reason: str) -> None:
        # `sendClose` takes an application's codes only; 1001 and 1011 are a server's to send (RFC 6455, section 7.4.1).
        self.sendCloseFrame(code, reason.encode())


class VisitorFactory(WebSocketServerFactory):
    """Makes the protocols and knows those that are open."""

    protocol: Any = VisitorProtocol

    def __init__(self, door: Door, reactor: Any, trusted_proxies: tuple[str, ...] = ()) -> None:
        super().__init__(reactor=reactor, server="webchat")
        self.door = door
        self.protocols: set[VisitorProtocol] = set()
        self.ending: set[VisitorConnection] = set()
        self.trusted = frozenset(trusted_proxies)
        self.setProtocolOptions(
            maxFramePayloadSize=frames.LARGEST_FRAME,
            maxMessagePayloadSize=frames.LARGEST_FRAME,
            autoPingInterval=30,
            autoPingTimeout=20,
            openHandshakeTimeout=10,
            closeHandshakeTimeout=2,
            tcpNoDelay=True,
        )

    def address_of(self, request: Any) -> str:
        """The visitor's address; X-Forwarded-For counts only when a trusted proxy said it (its last entry)."""
        kind, _, rest = str(request.peer).partition(":")
        address = rest.rpartition(":")[0].strip("[]") if kind.startswith("tcp") else str(request.peer)
        if address in self.trusted:
            forwarded = str(request.headers.get("x-forwarded-for", "")).rpartition(",")[2].strip()
            return forwarded or address
        return address

    def finish(self, connection: VisitorConnection) -> None:
        """Remember a closed connection until what it had sent is handled."""
        self.ending = {each for each in self.ending if not each.is_ended} | {connection}

    async def close_all(self) -> None:
        """Say goodbye to everybody and wait until what they sent is handled."""
        for protocol in tuple(self.protocols):
            protocol.close(frames.CLOSE_GOING_AWAY, "restarting")
            protocol.dropConnection(abort=False)
            if protocol.connection is not None:
                protocol.connection.closed()
                self.finish(protocol.connection)
        for connection in tuple(self.ending):
            await connection.ended()
        self.ending.clear()
