"""Which network addresses this server asks on the word of strangers: those of the public Internet, and no others.

Rows C01, C03, C04, C05 and C10 of the known attacks. A name is resolved once, every address that it has is checked, and
one of exactly those is connected to: a name that answers differently a second time gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from homeserver.outbound.failures import OutboundFailed

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
LookUp = Callable[[str], Awaitable[list[str]]]
"""The addresses of a name, as text; raises OSError."""

DEFAULT_PORTS: Final = frozenset({80, 443, 8448})

_REFUSED_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network; on Linux, this machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; a cloud's metadata too (100.100.100.200)
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's metadata
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata (192.0.0.192)
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
"""All of IPv6 that is given out. What lies outside is refused without a list: loopback, mapped and compatible IPv4,
unique-local (a cloud's metadata too: fd00:ec2::254), link-local, site-local, multicast, discard-only, local NAT64."""
_REFUSED_V6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
"""The public IPv4 Internet as a network sees it that has IPv6 alone (RFC 6052): the address inside is what counts."""

_ADDRESSES_MAX: Final = 8


class AddressGuard:
    """Resolves names and says which addresses may be asked.

    `allowed` networks are asked although they are private; `denied` ones never, whatever else says so. `own_ports` are
    ports on which this server itself listens: on its own addresses they are refused.
    """

    def __init__(
        self,
        allowed: Iterable[str] = (),
        denied: Iterable[str] = (),
        ports: Collection[int] = DEFAULT_PORTS,
        own_ports: Collection[int] = (),
        look_up: LookUp | None = None,
    ) -> None:
        self._allowed: list[Network] = [ip_network(text, strict=False) for text in allowed]
        self._denied: list[Network] = [ip_network(text, strict=False) for text in denied]
        self._ports = frozenset(ports)
        self._own_ports = frozenset(own_ports)
        self._names = NameLookUp()
        self._look_up = look_up or self._names.look_up

    async def resolve(self, host: str, port: int, *, trusted: bool = False) -> list[str]:
        """The addresses of a host, each of which may be connected to. Raises OutboundFailed when one may not, or when
        there is none. `trusted`: the operator named it, so it is only resolved."""
        if not trusted and self._ports and port not in self._ports:
            raise OutboundFailed("refused", f"Port {port} is not asked (outbound.allowed_ports).")
        try:
            found = [str(ip_address(host))]
        except ValueError:
            try:
                found = await self._look_up(host)
            except OSError as error:
                raise OutboundFailed("not reached", f"{host} has no address ({type(error).__name__}).") from None
        if not found:
            raise OutboundFailed("not reached", f"{host} has no address.")
        if not trusted:
            for text in found:
                self.check_address(text, port)
        return found[:_ADDRESSES_MAX]

    def check_address(self, text: str, port: int) -> None:
        """Raises OutboundFailed for an address that is not asked."""
        try:
            address = ip_address(text)
        except ValueError:
            raise OutboundFailed("refused", "That is no network address.") from None
        if self.is_refused(address) or (port in self._own_ports and _is_own(address)):
            raise OutboundFailed("refused", f"{text} is not asked (outbound.allowed_networks).")

    def is_refused(self, address: Address) -> bool:
        """Whether an address is none of the public Internet, or denied."""
        if isinstance(address, IPv6Address):
            if address.scope_id is not None:
                return True
            if address in _NAT64:
                return _is_in(address, self._denied) or self.is_refused(IPv4Address(int(address) & 0xFFFFFFFF))
        if _is_in(address, self._denied):
            return True
        return not _is_public(address) and not _is_in(address, self._allowed)

    def close(self) -> None:
        """End the threads that look names up."""
        self._names.close()


class NameLookUp:
    """The system's resolver in a few threads of its own: a name server that never answers must not hold up those that
    read files and check passwords. It parses no DNS in this process's Python (row C10).

    Names that were found before have threads of their own, so that very many dead names do not hold them up (B30)."""

    _THREADS: Final = 8
    _NAMES: Final = 10_000

    def __init__(self) -> None:
        self._threads: dict[bool, ThreadPoolExecutor] = {}
        self._found: dict[str, None] = {}

    async def look_up(self, host: str) -> list[str]:
        was_found = host in self._found
        threads = self._threads.get(was_found)
        if threads is None:
            threads = self._threads[was_found] = ThreadPoolExecutor(self._THREADS, thread_name_prefix="names")
        try:
            found = await asyncio.get_running_loop().run_in_executor(threads, _addresses_of, host)
        except OSError:
            self._found.pop(host, None)
            raise
        self._found[host] = None
        if len(self._found) > self._NAMES:
            del self._found[next(iter(self._found))]
        return list(dict.fromkeys(found))

    def close(self) -> None:
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)
        self._threads.clear()


def _addresses_of(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("no name") from error
    return [str(address[0]) for _, _, _, _, address in found]


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _REFUSED_V6)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _is_own(address: Address) -> bool:
    """Whether this machine has the address: then it would send from the same one. Nothing is sent to find out."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
            return bool(probe.getsockname()[0] == str(address))
        except OSError:
            return False
