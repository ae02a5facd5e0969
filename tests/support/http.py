"""Two HTTP clients with one interface: one calls an `HttpApplication` in memory, one speaks over real sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

import msgspec

from homeserver.http.application import HttpApplication
from homeserver.http.request import FileBody, StreamBody


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `headers` have lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class HttpClient(Protocol):
    """What tests call. `json` is encoded as the body; `token` becomes the Authorization header; `query` is appended."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = ...,
        body: bytes = b"",
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Answer: ...


def _prepare(
    path: str,
    json: Any,
    body: bytes,
    token: str | None,
    headers: Mapping[str, str] | None,
    query: Mapping[str, Any] | None,
) -> tuple[str, bytes, dict[str, str]]:
    sent = {name.lower(): value for name, value in (headers or {}).items()}
    if json is not ...:
        body = msgspec.json.encode(json)
        sent.setdefault("content-type", "application/json")
    if token is not None:
        sent["authorization"] = f"Bearer {token}"
    if query:
        path += ("&" if "?" in path else "?") + urlencode(query, doseq=True)
    return path, body, sent


class MemoryClient:
    """Calls the application directly: no sockets, no threads; time is whatever clock the application has."""

    def __init__(self, application: HttpApplication, *, address: str = "192.0.2.1") -> None:
        self.application = application
        self.address = address

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = ...,
        body: bytes = b"",
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Answer:
        path, body, sent = _prepare(path, json, body, token, headers, query)
        reply = await self.application.respond(method, path, sent, body, self.address)
        content = reply.body
        if isinstance(content, FileBody):
            with content.file as file:
                content = file.read(content.length)
        elif isinstance(content, StreamBody):
            content = b"".join([chunk async for chunk in content.chunks])
        return Answer(reply.status, {name.lower(): value for name, value in reply.headers}, content)


class SocketClient:
    """One keep-alive connection, opened at the first request and again when the server has closed it.

    `port` of 127.0.0.1, or `unix_path`. `tls` is a context for https.
    """

    def __init__(self, port: int = 0, *, unix_path: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._port, self._unix_path, self._tls = port, unix_path, tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> SocketClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._streams is not None:
            writer = self._streams[1]
            self._streams = None
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                return

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The raw streams, for tests that write bytes themselves."""
        if self._streams is None:
            if self._unix_path is not None:
                self._streams = await asyncio.open_unix_connection(self._unix_path)
            else:
                self._streams = await asyncio.open_connection(
                    "127.0.0.1", self._port, ssl=self._tls, server_hostname="localhost" if self._tls else None
                )
        return self._streams

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = ...,
        body: bytes = b"",
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Answer:
        path, body, sent = _prepare(path, json, body, token, headers, query)
        sent.setdefault("host", "localhost")
        if body or method in ("POST", "PUT"):
            sent.setdefault("content-length", str(len(body)))
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        reader, writer = await self.open()
        writer.write(head.encode("latin-1") + b"\r\n" + body)
        answer = await read_answer(reader, is_head=method == "HEAD")
        if answer.headers.get("connection", "").lower() == "close":
            await self.close()
        return answer


async def read_answer(reader: asyncio.StreamReader, *, is_head: bool = False) -> Answer:
    """Read one response, following its own framing. Raises IncompleteReadError when the server closed instead."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ")[1])
    headers: dict[str, str] = {}
    for line in lines[1:]:
        if line:
            name, _, value = line.partition(":")
            assert name.lower() not in headers, f"the server sent {name} twice"
            headers[name.lower()] = value.strip()
    if is_head or status in (204, 304) or status < 200:
        return Answer(status, headers, b"")
    if headers.get("transfer-encoding") == "chunked":
        content = b""
        while True:
            size = int((await reader.readuntil(b"\r\n")).strip(), 16)
            chunk = await reader.readexactly(size + 2)
            if size == 0:
                return Answer(status, headers, content)
            content += chunk[:-2]
    return Answer(status, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
