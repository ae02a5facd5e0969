"""HTTP as the kit needs it: one request, one answer. treq makes real ones; the testing harness answers in memory."""

# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

import treq
from twisted.internet.defer import CancelledError as DeferredCancelled
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` have lower-case names."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Unreachable(Exception):
    """No answer came: refused, reset, timed out. Whether the request was carried out is unknown."""


class Requests(Protocol):
    async def request(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes, limit: int
    ) -> Answer:
        """Raises `Unreachable`. An answer longer than `limit` bytes is Unreachable too."""
        ...

    async def close(self) -> None: ...


class TreqRequests:
    """Requests to one base URL over kept-alive connections of Twisted's reactor (which must run on asyncio)."""

    def __init__(self, base_url: str, reactor: Any, *, timeout: float = 60.0) -> None:
        self._base = base_url.rstrip("/")
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = 8
        # A repeated PUT is for the client above to decide, with its transaction ids; not for the pool.
        self._pool.retryAutomatically = False
        self._agent: Any = Agent(reactor, connectTimeout=10.0, pool=self._pool)
        self._timeout = timeout

    async def request(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes, limit: int
    ) -> Answer:
        url = self._base + path + ("?" + urlencode(query) if query else "")
        try:
            return await asyncio.wait_for(self._exchange(method, url, headers, body, limit), self._timeout)
        except (TimeoutError, DeferredCancelled) as error:
            raise Unreachable(f"no answer within {self._timeout:g} s") from error
        except (asyncio.CancelledError, Unreachable):
            raise
        except Exception as error:
            raise Unreachable(str(error) or type(error).__name__) from error

    async def _exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes, limit: int) -> Answer:
        loop = asyncio.get_running_loop()
        fields: Any = {name: [value] for name, value in headers.items()}
        sent = treq.request(method, url, headers=Headers(fields), data=body, agent=self._agent, unbuffered=True)
        response = await sent.asFuture(loop)
        chunks: list[bytes] = []
        length = 0

        def collect(chunk: bytes) -> None:
            nonlocal length
            length += len(chunk)
            if length > limit:
                raise Unreachable(f"the answer is longer than {limit} bytes")
            chunks.append(chunk)

        await treq.collect(response, collect).asFuture(loop)
        found = {
            name.decode("latin-1").lower(): values[-1].decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
        }
        return Answer(response.code, b"".join(chunks), found)

    async def close(self) -> None:
        await self._pool.closeCachedConnections().asFuture(asyncio.get_running_loop())
