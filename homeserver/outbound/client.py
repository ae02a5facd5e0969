"""HTTP requests to addresses that others name: push gateways, previewed pages, other servers.

Rows C01-C08 of the known attacks: the address is checked after it was resolved and is the one connected to; each
redirect is checked anew and carries no credentials; time, bytes and decompressed bytes are bounded; no proxy of the
environment is used. Twisted's client is imported with the first request: it costs memory that a quiet server keeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from homeserver.outbound.address_guard import AddressGuard
from homeserver.outbound.failures import OutboundFailed
from homeserver.outbound.targets import Target, parse_target

if TYPE_CHECKING:
    from homeserver.outbound.connections import Connections

__all__ = ["Outbound", "OutboundAnswer", "OutboundClient", "OutboundFailed"]

MAX_BYTES: Final = 1_048_576
_NO_HEADERS: Final[Mapping[str, str]] = {}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CREDENTIALS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})

Receive = Callable[[bytes], None]
"""Takes each piece of a body, decoded, on the event loop."""


@dataclass(frozen=True, slots=True)
class OutboundAnswer:
    """`headers` have lower-case names, several values of one name joined by ", "; `url` is where it came from in the
    end; `body` is decoded (gzip), and empty where it was streamed."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    url: str = ""


class Outbound(Protocol):
    """The requests that this server makes."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes | None = None,
        timeout: float = 30.0,
        max_bytes: int = MAX_BYTES,
        redirects: int = 0,
        trusted: bool = False,
        connect_to: tuple[str, int] | None = None,
    ) -> OutboundAnswer:
        """One exchange: `timeout` in seconds of real time for all of it, `max_bytes` of the decoded body.

        `redirects`: how many are followed, for GET and HEAD without credentials; with 0 the redirect is the answer.
        `trusted`: the operator named this URL in the configuration, so private addresses and any port are allowed; what
        it redirects to elsewhere is not trusted. `connect_to`: the host and port that are behind the URL, which TLS and
        the Host header still go by. Any status is an answer; raises OutboundFailed when there is none.
        """
        content = bytearray()
        answer = await self.stream(
            method,
            url,
            content.extend,
            headers=headers,
            body=body,
            timeout=timeout,
            max_bytes=max_bytes,
            redirects=redirects,
            trusted=trusted,
            connect_to=connect_to,
        )
        return OutboundAnswer(answer.status, answer.headers, bytes(content), answer.url)

    async def stream(
        self,
        method: str,
        url: str,
        receive: Receive,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes | None = None,
        timeout: float = 30.0,
        max_bytes: int = MAX_BYTES,
        redirects: int = 0,
        trusted: bool = False,
        connect_to: tuple[str, int] | None = None,
    ) -> OutboundAnswer:
        """`request` for a big body, which goes to `receive` piece by piece (of every status, 3xx that are followed
        excepted). What `receive` raises ends the exchange and is raised here."""
        ...


class OutboundClient(Outbound):
    """`Outbound` over Twisted's HTTP client. Twisted's reactor must be installed before the first request.

    `own_reactor` is the installed one unless a test says otherwise.
    """

    def __init__(self, guard: AddressGuard, user_agent: str = "Halfdoor", own_reactor: Any = None) -> None:
        self._guard = guard
        self._user_agent = user_agent
        self._reactor = own_reactor
        self._connections: Connections | None = None

    async def stream(
        self,
        method: str,
        url: str,
        receive: Receive,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes | None = None,
        timeout: float = 30.0,
        max_bytes: int = MAX_BYTES,
        redirects: int = 0,
        trusted: bool = False,
        connect_to: tuple[str, int] | None = None,
    ) -> OutboundAnswer:
        target = parse_target(url)
        sent = {name.lower(): value for name, value in headers.items()}
        follows = redirects if method in ("GET", "HEAD") and not _CREDENTIALS & sent.keys() else 0
        sent.setdefault("user-agent", self._user_agent)
        sent["accept-encoding"] = "gzip"
        try:
            async with asyncio.timeout(timeout):
                return await self._follow(method, target, sent, body, receive, max_bytes, follows, trusted, connect_to)
        except TimeoutError:
            raise OutboundFailed("timed out", f"{target.host} took longer than {timeout:.0f} s.") from None

    async def close(self) -> None:
        """Close connections that are kept for the next request, and end the threads that look names up."""
        self._guard.close()
        if self._connections is not None:
            await self._connections.close()

    async def _follow(
        self,
        method: str,
        target: Target,
        headers: Mapping[str, str],
        body: bytes | None,
        receive: Receive,
        max_bytes: int,
        redirects: int,
        trusted: bool,
        connect_to: tuple[str, int] | None,
    ) -> OutboundAnswer:
        if self._connections is None:
            from homeserver.outbound.connections import Connections

            self._connections = Connections(self._guard, self._reactor)
        for left in range(redirects, -1, -1):
            exchange = await self._connections.send(
                method, target, headers, body, trusted=trusted, connect_to=connect_to
            )
            location = exchange.headers.get("location")
            if not redirects or exchange.status not in _REDIRECTS or location is None:
                await exchange.read(receive, max_bytes)
                return OutboundAnswer(exchange.status, exchange.headers, b"", target.url)
            await exchange.skip()
            if left:
                following = target.follow(location)
                trusted = trusted and following.origin == target.origin
                target, connect_to = following, None
        raise OutboundFailed("redirected too often", f"{target.host} redirects more than {redirects} times.")


class NoOutbound(Outbound):
    """`Outbound` of a server that reaches nobody: tests that say nothing of it."""

    async def stream(
        self,
        method: str,
        url: str,
        receive: Receive,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes | None = None,
        timeout: float = 30.0,
        max_bytes: int = MAX_BYTES,
        redirects: int = 0,
        trusted: bool = False,
        connect_to: tuple[str, int] | None = None,
    ) -> OutboundAnswer:
        raise OutboundFailed("not reached", "This server makes no requests.")
