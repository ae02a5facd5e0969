"""Who knows whom, asked of rooms/ through one small protocol."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Acquaintances(Protocol):
    """What users/ needs to know of rooms."""

    async def share_room_with(self, user_id: str, others: Collection[str]) -> set[str]:
        """Those of `others` who are joined to a room to which `user_id` is joined."""
        ...

    async def in_public_rooms(self, others: Collection[str]) -> set[str]:
        """Those of `others` who are joined to a room with a public join rule or world-readable history."""
        ...


class NoAcquaintances:
    """A server without rooms."""

    async def share_room_with(self, user_id: str, others: Collection[str]) -> set[str]:
        return set()

    async def in_public_rooms(self, others: Collection[str]) -> set[str]:
        return set()
