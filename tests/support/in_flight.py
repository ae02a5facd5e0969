"""What was asked of databases that live on other threads or in other processes, and is not answered yet.

Tests own the clock: `FakeClock.advance` returns when what was due is done, also where a database must answer first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from homeserver.storage.database import Database

METHODS = ("fetch_all", "fetch_one", "fetch_value", "write", "refresh_position")


@dataclass
class InFlight:
    """`count`: how many calls wait for an answer."""

    count: int = 0

    def watch(self, database: Database) -> None:
        """Count what is asked of this database from now on."""
        for name in METHODS:
            setattr(database, name, self._counted(getattr(database, name)))

    def _counted(self, ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            try:
                return await ask(*args, **kwargs)
            finally:
                self.count -= 1

        return counted


in_flight = InFlight()
