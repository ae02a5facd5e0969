"""Which servers may take part in a room: m.room.server_acl.

Patterns are compiled once for each state of the room, and matched in linear time (B13); names are compared without the
port and in lower case (B12). Spec: Client-Server API, "Server Access Control Lists (ACLs) for rooms".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from homeserver.protocol.globs import Glob, GlobText, glob

MAXIMUM_PATTERNS = 10_000


class ServerAcl:
    """An ACL as its event has it. Without an event everybody may take part."""

    def __init__(self, content: Mapping[str, Any] | None) -> None:
        self._is_set = content is not None
        content = content or {}
        self._literals = content.get("allow_ip_literals", True) is not False
        self._allow = _patterns(content.get("allow"))
        self._deny = _patterns(content.get("deny"))
        self.allows = lru_cache(maxsize=2_000)(self._allows)

    def _allows(self, server_name: str) -> bool:
        """Whether a server may take part."""
        if not self._is_set:
            return True
        host = _host_of(server_name).lower()
        # "If allow_ip_literals is set to false and the server is an IP literal, deny."
        if not self._literals and _is_literal(host):
            return False
        text = GlobText(host)
        # "If the server is in deny, deny. If the server is in allow, allow. Otherwise, deny."
        if any(pattern.matches(text) for pattern in self._deny):
            return False
        return any(pattern.matches(text) for pattern in self._allow)


def _patterns(said: Any) -> list[Glob]:
    if not isinstance(said, list):
        return []
    return [glob(one.lower()) for one in said[:MAXIMUM_PATTERNS] if isinstance(one, str)]


def _host_of(server_name: str) -> str:
    host, colon, port = server_name.rpartition(":")
    return host if colon and port.isdigit() else server_name


def _is_literal(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
