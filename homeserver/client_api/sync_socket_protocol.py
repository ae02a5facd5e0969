"""The WebSocket of /sync: Autobahn's half. Imported when somebody first opens one."""

# mypy: allow-untyped-calls, allow-subclassing-any

from __future__ import annotations

from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny

from homeserver.client_api.sync_socket import SUBPROTOCOL, SyncSocketRoute, token_of
from homeserver.http.channel import host_of
from homeserver.sync.socket import BAD_FRAME, LARGEST_FRAME, SyncSocket


class SyncSocketProtocol(WebSocketServerProtocol):
    """One connection. Autobahn calls the on… methods."""

    factory: SyncSocketFactory
    socket: SyncSocket | None = None
    transport: Any
    maxMessagePayloadSize: int

    def onConnect(self, request: Any) -> str | None:
        route = self.factory.route
        if not route.knows_origin(request.headers.get("origin")):
            raise ConnectionDeny(403, "pages of this origin may not connect")
        if "access_token" in request.params:
            raise ConnectionDeny(400, "an access token does not belong into an address")
        peer = host_of(self.transport.getPeer())
        self.address = route.proxies.client_of(peer, request.headers.get("x-forwarded-for"))
        if not route.sockets.may_open(self.address):
            raise ConnectionDeny(429, "too many connections")
        self.token = token_of(request.headers, request.protocols)
        self.user_agent = str(request.headers.get("user-agent", ""))[:256]
        return SUBPROTOCOL if SUBPROTOCOL in request.protocols else None

    def onOpen(self) -> None:
        self.socket = self.factory.route.sockets.open(
            self, token=self.token, address=self.address, user_agent=self.user_agent
        )

    def onMessage(self, payload: bytes, is_binary: bool) -> None:
        if self.socket is None:
            return
        if is_binary:
            self.socket.end(BAD_FRAME, "text frames only")
        else:
            self.socket.offer(payload)

    def onClose(self, was_clean: bool, code: int | None, reason: str | None) -> None:
        if self.socket is not None:
            self.socket.closed()
            self.socket = None

    # As Wire.

    def send(self, frame: bytes) -> None:
        # Autobahn's limit is for both directions; answers may be larger than what clients may send.
        limit, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            self.sendMessage(frame, isBinary=False)
        finally:
            self.maxMessagePayloadSize = limit

    def close(self, code: int, reason: str) -> None:
        # `sendClose` takes an application's codes only; 1001 and 1011 are a server's to send (RFC 6455, section 7.4.1).
        self.sendCloseFrame(code, reason.encode())


class SyncSocketFactory(WebSocketServerFactory):
    """Makes the protocols."""

    protocol: Any = SyncSocketProtocol

    def __init__(self, route: SyncSocketRoute, reactor: Any) -> None:
        super().__init__(reactor=reactor, server="halfdoor")
        self.route = route
        self.setProtocolOptions(
            maxFramePayloadSize=LARGEST_FRAME,
            maxMessagePayloadSize=LARGEST_FRAME,
            autoPingInterval=45,
            autoPingTimeout=90,  # a pong waits behind what a slow reader still has to read
            openHandshakeTimeout=10,
            closeHandshakeTimeout=2,
            tcpNoDelay=True,
        )
