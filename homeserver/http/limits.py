"""What one connection may cost (row D05 of the known attacks) and how many there may be (row D20)."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

FD_DIRECTORY: Final = "/proc/self/fd"


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Times in seconds, sizes in bytes.

    `header_timeout`: from a request's first byte to the end of its headers. `body_grace` and `body_rate`: a body of n
    bytes may take `body_grace + n / body_rate`, and no pause in it may be longer than `body_grace`. `idle_timeout`: a
    connection that asks nothing. `write_timeout`: a client that does not read its answer. `linger_timeout` and
    `linger_limit`: how long, and how much, is read and thrown away after an early refusal, so that the client sees it.
    """

    header_timeout: float = 15.0
    body_grace: float = 15.0
    body_rate: float = 1024.0
    idle_timeout: float = 75.0
    write_timeout: float = 60.0
    linger_timeout: float = 3.0
    linger_limit: int = 1024 * 1024
    max_headers: int = 100
    max_header_bytes: int = 16 * 1024
    max_connections_per_address: int = 512
    max_fd_share: float = 0.9


def address_key(host: str) -> str:
    """What the connections of one client are counted under: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> 64 << 64)) + "/64"
    return host


def open_descriptors() -> int:
    """How many file descriptors this process has open; 0 where the system does not say."""
    try:
        return len(os.listdir(FD_DIRECTORY)) - 1  # the one that reads the directory
    except OSError:  # pragma: no cover
        return 0


def descriptor_limit() -> int:
    """The soft limit of file descriptors."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


class DescriptorGuard:
    """Says when to stop accepting: above `share` of the descriptors; and when to go on: below 95 % of that."""

    def __init__(
        self,
        share: float,
        *,
        count: Callable[[], int] = open_descriptors,
        limit: Callable[[], int] = descriptor_limit,
    ) -> None:
        self._share, self._count, self._limit = share, count, limit
        self._counted = count()
        self._opened_since = 0
        self._checks = 0
        self.is_exhausted = False

    def check(self) -> bool:
        """Count anew; whether accepting must stop. Far from the limit it counts only now and then, as counting reads a
        directory with an entry for each descriptor."""
        self._checks += 1
        used = self._counted + self._opened_since
        if self._checks % 30 and not self.is_exhausted and used < self._limit() * self._share / 2:
            return False
        self._counted, self._opened_since = self._count(), 0
        return self._judge()

    def opened(self) -> bool:
        """One more connection was accepted; whether accepting must stop. Cheap: estimates until the next `check`."""
        self._opened_since += 1
        return self._judge()

    def closed(self) -> None:
        """One connection less."""
        self._opened_since -= 1

    def _judge(self) -> bool:
        ceiling = self._limit() * self._share
        used = self._counted + self._opened_since
        self.is_exhausted = used >= (ceiling * 0.95 if self.is_exhausted else ceiling)
        return self.is_exhausted
