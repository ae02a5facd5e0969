"""The sections of a sync answer: each is one small implementation of `Section`."""

from __future__ import annotations

from typing import Protocol

from homeserver.sync.request import SyncRun


class Section(Protocol):
    """A part of the answer."""

    async def add_to(self, run: SyncRun) -> None:
        """Add what is new between `run.since` and `run.now` to `run.response` and `run.rooms`."""
        ...
