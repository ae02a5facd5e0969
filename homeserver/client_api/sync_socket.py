"""The WebSocket of /sync, over Autobahn: who may open it, its token, its limits. The rest is sync/socket.py.

Autobahn is loaded when somebody first opens one.
"""

from __future__ import annotations

from typing import Any, Final

from homeserver.http.client_address import ProxyTrust
from homeserver.sync.socket import SyncSockets

SUBPROTOCOL: Final = "org.halfdoor.sync"
TOKEN_SUBPROTOCOL: Final = "org.halfdoor.token."  # noqa: S105


class SyncSocketRoute:
    """Stands in the table of paths that a listener upgrades."""

    def __init__(
        self, sockets: SyncSockets, reactor: Any, *, origins: tuple[str, ...] = (), proxies: tuple[str, ...] = ()
    ) -> None:
        """`origins`: of the pages that may connect; none: all of them, as everywhere in this API, since no browser
        sends a token by itself. Cookies are never looked at."""
        self.sockets = sockets
        self.origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self.proxies = ProxyTrust(proxies)
        self._reactor = reactor
        self._factory: Any = None

    def buildProtocol(self, address: Any) -> Any:
        if self._factory is None:
            from homeserver.client_api.sync_socket_protocol import SyncSocketFactory

            self._factory = SyncSocketFactory(self, self._reactor)
        return self._factory.buildProtocol(address)

    def knows_origin(self, origin: str | None) -> bool:
        """Whether a page of this origin may connect. Programs that are no browsers name none."""
        return not self.origins or origin is None or origin.lower() in self.origins


def token_of(headers: dict[str, str], subprotocols: list[str]) -> str | None:
    """The access token of a handshake: the Authorization header, or a subprotocol, since browsers set no headers."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and rest.strip():
        return rest.strip()
    for name in subprotocols:
        if name.startswith(TOKEN_SUBPROTOCOL):
            return name.removeprefix(TOKEN_SUBPROTOCOL)
    return None
