"""What a URL that somebody else wrote means, strictly: two programs that read one URL differently help attackers.

Row C01 of the known attacks. Whether the address behind the name may be asked is decided after it was resolved
(`address_guard.py`); here falls what is no plain http or https address at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from homeserver.outbound.failures import OutboundFailed

MAXIMUM_LENGTH: Final = 8192
_PORTS: Final = {"http": 80, "https": 443}
_UNWANTED = re.compile(r"[\x00-\x20\x7f\\]")
_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_KEPT: Final = "!#$%&'()*+,/:;=?@[]~-._"


@dataclass(frozen=True, slots=True)
class Target:
    """`host` is lower case and ASCII, an IPv6 address without brackets; `path` begins with / and has the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if _PORTS[self.scheme] == self.port else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    def follow(self, location: str) -> Target:
        """Where a redirect leads. Raises OutboundFailed."""
        try:
            joined = urljoin(self.url, location)
        except ValueError:
            raise OutboundFailed("refused", "The redirect leads to no address.") from None
        return parse_target(joined)


def parse_target(url: str) -> Target:
    """Raises OutboundFailed for everything but http and https with a plain host: no credentials, control characters,
    backslashes, encoded hosts, or addresses written as octal, hexadecimal or single numbers."""
    if len(url) > MAXIMUM_LENGTH or _UNWANTED.search(url):
        raise OutboundFailed("refused", "That is not the address of anything on the web.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise OutboundFailed("refused", "That is not the address of anything on the web.") from None
    if parts.scheme not in _PORTS:
        raise OutboundFailed("refused", "Only http and https addresses are asked.")
    if "@" in parts.netloc or not host or port == 0 or parts.netloc.endswith(":"):
        raise OutboundFailed("refused", "The address has no plain host.")
    path = quote(parts.path or "/", safe=_KEPT, errors="replace")
    if parts.query:
        path += "?" + quote(parts.query, safe=_KEPT, errors="replace")
    return Target(parts.scheme, _plain_host(host, parts.netloc.startswith("[")), port or _PORTS[parts.scheme], path)


def _plain_host(host: str, is_bracketed: bool) -> str:
    if is_bracketed:
        try:
            if "%" not in host:
                return str(IPv6Address(host))
        except AddressValueError:
            pass
        raise OutboundFailed("refused", "The address has no plain host.")
    if not host.isascii():
        host = _in_ascii(host)
    host = host.lower().removesuffix(".")
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise OutboundFailed("refused", "The address has no plain host.")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            return str(IPv4Address(host))
        except AddressValueError:
            raise OutboundFailed("refused", "The address has no plain host.") from None
    return host


def _in_ascii(host: str) -> str:
    import idna  # its tables cost memory that few addresses are worth

    try:
        return idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise OutboundFailed("refused", "The address has no plain host.") from None
