"""A small HTTP/1.1 client that costs little: the load generator must never be what is measured.

One connection carries one request at a time; parsing does no more than find the status, the length and the body.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import cast

HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d+)")
CHUNKED = re.compile(rb"\r\n[Tt]ransfer-[Ee]ncoding: *chunked", re.IGNORECASE)


class NoAnswer(Exception):
    """The connection ended before the answer was whole."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


class _Exchange(asyncio.Protocol):
    """One connection: what was received of the answer that is waited for."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[Answer] | None = None
        self._received = bytearray()
        self._body_at = -1
        self._length = -1  # -1: chunked, or the head is not here yet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(NoAnswer(str(exc or "the server closed the connection")))

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if self._body_at < 0:
            end = received.find(HEAD_END)
            if end < 0:
                return
            self._body_at = end + len(HEAD_END)
            head = bytes(received[:end])
            length = LENGTH.search(head)
            self._length = int(length[1]) if length else (-1 if CHUNKED.search(head) else 0)
        if self._length >= 0:
            if len(received) - self._body_at >= self._length:
                self._finish(bytes(received[self._body_at : self._body_at + self._length]))
        elif received.endswith(b"0\r\n\r\n"):
            body = whole_chunks(bytes(received[self._body_at :]))
            if body is not None:
                self._finish(body)

    def _finish(self, body: bytes) -> None:
        status = int(self._received[9:12])
        self._received.clear()
        self._body_at = -1
        self._length = -1
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(Answer(status, body))


def whole_chunks(data: bytes) -> bytes | None:
    """The body in chunked encoding, or None while its last chunk has not come."""
    parts: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end].partition(b";")[0], 16)
        if size == 0:
            return b"".join(parts)
        if len(data) < end + 2 + size + 2:
            return None
        parts.append(data[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return None


class HttpClient:
    """One keep-alive connection to 127.0.0.1, opened when it is needed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._exchange: _Exchange | None = None

    async def request(
        self, method: str, path: str, body: bytes = b"", token: str = "", *, authorization: str = ""
    ) -> Answer:
        """`token` is a user's, `authorization` a whole header. Raises NoAnswer when the server closes the connection
        before its answer is whole."""
        exchange = self._exchange
        is_reused = exchange is not None and exchange.transport is not None and not exchange.transport.is_closing()
        if exchange is None or not is_reused:
            _, exchange = await asyncio.get_running_loop().create_connection(_Exchange, "127.0.0.1", self.port)
            self._exchange = exchange
        assert exchange.transport is not None
        exchange.answer = asyncio.get_running_loop().create_future()
        said = authorization or (f"Bearer {token}" if token else "")
        header = f"Authorization: {said}\r\n" if said else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{header}Content-Length: {len(body)}"
        exchange.transport.write(head.encode() + b"\r\nContent-Type: application/json\r\n\r\n" + body)
        try:
            return await exchange.answer
        except NoAnswer:
            if not is_reused:
                raise
        # A server that was stopped for its rival's turn closes what was idle meanwhile, as the request arrives.
        self._exchange = None
        return await self.request(method, path, body, token, authorization=authorization)

    def close(self) -> None:
        if self._exchange is not None and self._exchange.transport is not None:
            self._exchange.transport.abort()
        self._exchange = None
