"""Where a server is: from its name to hosts and ports, by the seven steps of the specification.

The name that TLS and the Host header speak of is not always the host that is connected to: with SRV records the record
only says where to connect. `.well-known` answers are remembered for as long as they say, within bounds; that there is
none, for an hour.

Spec: Server-Server API, "Resolving server names".
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from homeserver.clock import Clock
from homeserver.outbound.client import Outbound
from homeserver.outbound.failures import OutboundFailed
from homeserver.protocol import strict_json
from homeserver.protocol.errors import MatrixError
from homeserver.protocol.identifiers import is_server_name

DEFAULT_PORT: Final = 8448
WELL_KNOWN_BYTES: Final = 51_200
WELL_KNOWN_SECONDS: Final = 10.0
REDIRECTS: Final = 5
REMEMBERED_SECONDS: Final = 24 * 3600.0
REMEMBERED_MAX_SECONDS: Final = 48 * 3600.0
REMEMBERED_MIN_SECONDS: Final = 300.0
FAILURE_SECONDS: Final = 3600.0
REMEMBERED_NAMES: Final = 10_000
_MAX_AGE: Final = re.compile(r"max-age\s*=\s*\"?(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Location:
    """`authority`: what the URL says, to TLS and in the Host header; `connect_to`: the host and port behind it."""

    authority: str
    connect_to: tuple[str, int]


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One SRV record. Spec: RFC 2782."""

    host: str
    port: int
    priority: int = 0
    weight: int = 0


LookUpServices = Callable[[str], Awaitable[list[ServiceRecord]]]
"""The SRV records of a name; empty when there are none."""


class ServerDiscovery:
    """Finds servers, and remembers for a while."""

    def __init__(self, outbound: Outbound, look_up: LookUpServices, clock: Clock, chance: random.Random) -> None:
        self._outbound = outbound
        self._look_up = look_up
        self._clock = clock
        self._chance = chance
        self._delegated: dict[str, tuple[float, str | None]] = {}
        self._asking: dict[str, asyncio.Task[str | None]] = {}

    async def locate(self, server_name: str) -> list[Location]:
        """Where to connect, in the order in which to try. `server_name` has passed the grammar."""
        host, port = split_server_name(server_name)
        # 1. "If the hostname is an IP literal". 2. "and the server name includes an explicit port".
        if is_ip_literal(host) or port is not None:
            return [_plain(host, port)]
        # 3. "If the hostname is not an IP literal, a regular HTTPS request is made to .../.well-known/matrix/server"
        delegated = await self._delegation(host)
        if delegated is not None:
            host, port = split_server_name(delegated)
            if is_ip_literal(host) or port is not None:  # 3.1, 3.2
                return [_plain(host, port)]
        # 3.3, 3.4, 4., 5.: "_matrix-fed._tcp", and deprecated "_matrix._tcp"
        for service in ("_matrix-fed._tcp.", "_matrix._tcp."):
            records = await self._look_up(service + host)
            if records:
                return [Location(host, (record.host, record.port)) for record in in_order(records, self._chance)]
        return [Location(host, (host, DEFAULT_PORT))]  # 3.5, 6.

    async def _delegation(self, host: str) -> str | None:
        kept = self._delegated.get(host)
        if kept is not None and kept[0] > self._clock.monotonic():
            return kept[1]
        asking = self._asking.get(host)
        if asking is None:
            asking = self._asking[host] = asyncio.ensure_future(self._ask(host))
            asking.add_done_callback(lambda _: self._asking.pop(host, None))
        return await asyncio.shield(asking)

    async def _ask(self, host: str) -> str | None:
        found, seconds = None, FAILURE_SECONDS
        with contextlib.suppress(OutboundFailed, MatrixError):
            answer = await self._outbound.request(
                "GET",
                f"https://{host}/.well-known/matrix/server",
                timeout=WELL_KNOWN_SECONDS,
                max_bytes=WELL_KNOWN_BYTES,
                redirects=REDIRECTS,
            )
            if answer.status == 200:
                found = _server_of(strict_json.decode(answer.body))
                if found is not None:
                    seconds = _lifetime(answer.headers.get("cache-control", ""))
        if len(self._delegated) >= REMEMBERED_NAMES:
            self._delegated.pop(next(iter(self._delegated)))
        self._delegated[host] = (self._clock.monotonic() + seconds, found)
        return found


def split_server_name(server_name: str) -> tuple[str, int | None]:
    """(host, an IPv6 address with its brackets; port, if there is one)."""
    host, colon, port = server_name.rpartition(":")
    if not colon or not port.isdigit():
        return server_name, None
    return host, int(port)


def is_ip_literal(host: str) -> bool:
    """Whether a host is an IPv4 address, or an IPv6 address in brackets."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def in_order(records: list[ServiceRecord], chance: random.Random) -> list[ServiceRecord]:
    """By priority, and within one at random by weight (RFC 2782)."""
    ordered: list[ServiceRecord] = []
    left = sorted(records, key=lambda record: record.priority)
    while left:
        first = [record for record in left if record.priority == left[0].priority]
        chosen = chance.choices(first, [record.weight + 1 for record in first])[0]
        ordered.append(chosen)
        left.remove(chosen)
    return ordered


def _plain(host: str, port: int | None) -> Location:
    authority = host if port is None else f"{host}:{port}"
    return Location(authority, (host.strip("[]"), DEFAULT_PORT if port is None else port))


def _server_of(body: Any) -> str | None:
    named = body.get("m.server") if isinstance(body, dict) else None
    return named if isinstance(named, str) and is_server_name(named) else None


def _lifetime(cache_control: str) -> float:
    if "no-store" in cache_control or "no-cache" in cache_control:
        return REMEMBERED_MIN_SECONDS
    found = _MAX_AGE.search(cache_control)
    if found is None:
        return REMEMBERED_SECONDS
    return min(max(float(found[1]), REMEMBERED_MIN_SECONDS), REMEMBERED_MAX_SECONDS)
