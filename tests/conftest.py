"""One event loop for the whole session: uvloop, with Twisted's reactor running on it as in production."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from hypothesis import HealthCheck, settings

from homeserver.storage.database import Database
from tests.support.databases import database, database_engine, database_location, postgres_databases, postgres_server
from tests.support.server import Server, open_server

__all__ = ["database", "database_engine", "database_location", "postgres_databases", "postgres_server", "reactor"]

# pytest-asyncio makes its loop by the policy. Its own hook for this would add "[uvloop]" to the name of every test.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.14 on
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


# How long an example takes says more of what else the machine does. What lands is tried with the same examples each
# time; by hand each run finds others.
settings.register_profile(
    "here", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("here")

# asyncio.Runner puts its own handler of Ctrl-C in the place of Python's, and only of Python's, for each coroutine that
# it runs; and what `signal` answers to that it finds out by writing the coroutine's whole result down in words.
signal.signal(signal.SIGINT, lambda number, frame: signal.default_int_handler(number, frame))

END_TO_END_SECONDS = 300
"""What a test may take that starts real programs, and installs them where they are not there, beside other work."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("end_to_end") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(END_TO_END_SECONDS))


def pytest_collection_finish() -> None:
    """Modules and tests stay: who looks for garbage need not look at them again and again."""
    gc.collect()
    gc.freeze()


@pytest_asyncio.fixture(scope="session", autouse=True, loop_scope="session")
async def reactor() -> AsyncIterator[Any]:
    """Twisted's global reactor, installed before anything can install another one, started on this loop, and checked
    at the end: no socket and no timer may be left behind."""
    assert "twisted.internet.reactor" not in sys.modules, "something imported the reactor before the tests began"
    from twisted.internet import asyncioreactor
    from twisted.internet.main import installReactor

    installed: Any = asyncioreactor.AsyncioSelectorReactor(asyncio.get_running_loop())
    installReactor(installed)  # type: ignore[no-untyped-call]
    installed.startRunning(installSignalHandlers=False)
    yield installed
    for _ in range(200):  # what was closed last may take a moment to be gone
        leaks = _leaks(installed)
        if not leaks:
            break
        await asyncio.sleep(0.02)
    installed.removeAll()  # not the "shutdown" event: it would stop the loop, which belongs to pytest-asyncio
    if installed.threadpool is not None:
        installed.threadpool.stop()
    assert not leaks, f"the tests left these behind: {leaks}"


@pytest.fixture
async def whole_server() -> AsyncIterator[Server]:
    """A whole homeserver in memory."""
    server = open_server()
    yield server
    await server.homeserver.close()


@pytest.fixture
async def stored_server(database: Database) -> AsyncIterator[Server]:
    """A whole homeserver on each of the real engines."""
    server = open_server(database)
    yield server
    await server.homeserver.close()


def _leaks(installed: Any) -> list[str]:
    """Sockets and timers that the reactor still holds."""
    readers = [each for each in installed.getReaders() if each not in installed._internalReaders]
    return [repr(each) for each in (*readers, *installed.getWriters(), *installed.getDelayedCalls())]
