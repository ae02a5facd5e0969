"""The installed Twisted reactor. Importing one installs one: only here, and late. Its type is anything."""

from __future__ import annotations

from typing import Any


def installed_reactor() -> Any:
    """The process's reactor; it must have been installed on the running asyncio loop (see runner.py)."""
    from twisted.internet import reactor

    return reactor


def install_reactor(loop: Any) -> Any:
    """Install Twisted's asyncio reactor on `loop` and start it without taking the signals."""
    from twisted.internet import asyncioreactor

    install: Any = asyncioreactor.install
    install(loop)
    reactor = installed_reactor()
    reactor.startRunning(installSignalHandlers=False)
    return reactor
