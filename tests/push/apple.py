"""A double of Apple's push service: real HTTP/2 over TLS, and the checks that the real one makes of a token."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import h2.config
import h2.connection
import h2.events
import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.push.tokens import read_token

KEY_ID, TEAM_ID, TOPIC = "KEY1234567", "TEAM123456", "org.example.app"


@dataclass
class Delivery:
    """A notification that was taken."""

    token: str
    headers: dict[str, str]
    payload: Any


@dataclass
class Apple:
    """The service. `reasons`: by device token, (status, reason) of a refusal; `now`: seconds, by whoever owns time."""

    public_key: ec.EllipticCurvePublicKey
    now: Callable[[], float]
    deliveries: list[Delivery] = field(default_factory=list)
    refusals: list[tuple[int, str]] = field(default_factory=list)
    reasons: dict[str, tuple[int, str]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    connections: int = 0
    port: int = 0

    def judge(self, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        """(status, reason): 200 and nothing, or why not."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return 403, "MissingProviderToken"
        header, claims, signed, signature = read_token(token)
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        try:
            self.public_key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
        except Exception:
            return 403, "InvalidProviderToken"
        if header.get("alg") != "ES256" or header.get("kid") != KEY_ID or claims.get("iss") != TEAM_ID:
            return 403, "InvalidProviderToken"
        if len(signature) != 64 or not isinstance(claims.get("iat"), int):
            return 403, "InvalidProviderToken"
        if not -60 <= self.now() - claims["iat"] <= 3600:
            return 403, "ExpiredProviderToken"
        self.tokens.add(token)
        if headers.get("apns-topic") != TOPIC:
            return 400, "TopicDisallowed"
        if headers.get("apns-push-type") not in ("alert", "background", "voip"):
            return 400, "InvalidPushType"
        if headers.get("apns-priority") not in ("5", "10"):
            return 400, "BadPriority"
        if len(body) > 4096:
            return 413, "PayloadTooLarge"
        if not body:
            return 400, "PayloadEmpty"
        device = headers[":path"].removeprefix("/3/device/")
        if device in self.reasons:
            return self.reasons[device]
        if headers[":method"] != "POST" or not set(device) <= set("0123456789abcdef"):
            return 400, "BadDeviceToken"
        self.deliveries.append(Delivery(device, headers, msgspec.json.decode(body)))
        return 200, ""


class _Connection(asyncio.Protocol):
    def __init__(self, apple: Apple) -> None:
        self._apple = apple
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._streams: dict[int, tuple[dict[str, str], bytearray]] = {}
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        assert self._transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        self._apple.connections += 1
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                assert event.stream_id is not None
                headers = {str(name): str(value) for name, value in event.headers or ()}
                self._streams[event.stream_id] = (headers, bytearray())
            elif isinstance(event, h2.events.DataReceived):
                assert event.stream_id is not None
                self._streams[event.stream_id][1].extend(event.data or b"")
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                assert event.stream_id is not None
                self._answer(event.stream_id)
        self._flush()

    def _answer(self, stream_id: int) -> None:
        headers, body = self._streams.pop(stream_id)
        status, reason = self._apple.judge(headers, bytes(body))
        if status == 200:
            answer = b""
        else:
            self._apple.refusals.append((status, reason))
            answer = msgspec.json.encode({"reason": reason})
        sent = [(":status", str(status)), ("apns-id", headers.get("apns-id", ""))]
        self._h2.send_headers(stream_id, sent, end_stream=not answer)
        if answer:
            self._h2.send_data(stream_id, answer, end_stream=True)

    def _flush(self) -> None:
        assert self._transport is not None
        self._transport.write(self._h2.data_to_send())


@asynccontextmanager
async def open_apple(
    certificate: str, key: str, public_key: ec.EllipticCurvePublicKey, now: Callable[[], float]
) -> AsyncIterator[Apple]:
    """The service on a free port of 127.0.0.1. `certificate` and `key` are files."""
    apple = Apple(public_key, now)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    tls.set_alpn_protocols(["h2"])
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(apple), "127.0.0.1", 0, ssl=tls)
    apple.port = server.sockets[0].getsockname()[1]
    try:
        yield apple
    finally:
        server.close()
