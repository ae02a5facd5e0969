"""Whose address a request comes from: X-Forwarded-For is believed only from configured proxies, and only as far as
the last hop that is not one of them (row D14 of the known attacks)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

UNIX_PEER = "unix"
"""The peer address of a connection over a unix socket. List it among the proxies to believe the one behind it."""


class ProxyTrust:
    """The configured proxies: networks such as `10.0.0.0/8`, single addresses, or "unix"."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """Raises ValueError for what is neither a network nor "unix"."""
        self._networks: list[IPv4Network | IPv6Network] = []
        self._trusts_unix = False
        for network in networks:
            if network == UNIX_PEER:
                self._trusts_unix = True
            else:
                self._networks.append(ip_network(network))
        self.is_proxy: Callable[[str], bool] = lru_cache(maxsize=4096)(self._look_up)
        """Whether an address, or \"unix\", is one of the proxies."""

    def client_of(self, peer: str, forwarded_for: str | None) -> str:
        """The client's address, given the peer of the connection and the X-Forwarded-For header.

        Read from the right: each hop that is a trusted proxy vouches for the one before it. Text that is no address
        ends the walk at the proxy that passed it on.
        """
        if forwarded_for is None or not (self._networks or self._trusts_unix) or not self.is_proxy(peer):
            return peer
        client = peer
        for hop in reversed(forwarded_for.split(",")[-32:]):
            address = _normal(hop.strip())
            if address is None:
                return client
            client = address
            if not self.is_proxy(client):
                return client
        return client

    def _look_up(self, address: str) -> bool:
        if address == UNIX_PEER:
            return self._trusts_unix
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed.version == network.version and parsed in network for network in self._networks)


def _normal(hop: str) -> str | None:
    """An address as text in one spelling; proxies may add a port and brackets."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        address = ip_address(hop)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
