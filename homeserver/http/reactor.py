"""Twisted's reactor on asyncio's loop.

Twisted loads OpenSSL wherever it finds it, 5 MiB, for its own `listenSSL` and `startTLS`. A server that stands behind a
proxy and has asked nobody yet needs none of it: `load_twisted`, called before anything else loads Twisted, keeps it out
of the reactor's sight. Our listeners and our requests to others bring TLS themselves, when the first of them needs it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any


def load_twisted(*, with_tls: bool) -> None:
    """Load the reactor's modules. `with_tls`: whether OpenSSL is needed from the start."""
    hidden = not with_tls and "OpenSSL" not in sys.modules and "twisted.internet.tcp" not in sys.modules
    if hidden:
        sys.modules["OpenSSL"] = None  # type: ignore[assignment]
    try:
        import twisted.internet.asyncioreactor  # noqa: F401
    finally:
        if hidden:
            del sys.modules["OpenSSL"]


def install_reactor(loop: asyncio.AbstractEventLoop) -> Any:
    """The reactor on our loop; the loop stays ours to run and to stop."""
    from twisted.internet import asyncioreactor
    from twisted.internet.main import installReactor

    reactor: Any = asyncioreactor.AsyncioSelectorReactor(loop)
    installReactor(reactor)  # type: ignore[no-untyped-call]
    reactor.startRunning(installSignalHandlers=False)
    return reactor
