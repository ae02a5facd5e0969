"""Single users for whom another limit of sending holds, or none; in memory, since every message asks."""

from __future__ import annotations

from typing import Final

from homeserver.protocol.errors import InvalidParam
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rate_limit_overrides import RateLimitOverrideStore

MAXIMUM: Final = 1_000_000


class RateLimitOverrides:
    """Set by operators; (events a second, events at once), the first 0 for no limit."""

    def __init__(self, db: Database, store: RateLimitOverrideStore) -> None:
        self._db = db
        self._store = store
        self._known: dict[str, tuple[int, int]] = {}

    async def start(self) -> None:
        """Read them all: there are few."""
        self._known = await self._store.list_overrides()

    def of_user(self, user_id: str) -> tuple[int, int] | None:
        """What holds for the user; None: what is configured."""
        return self._known.get(user_id)

    async def find(self, user_id: str) -> tuple[int, int] | None:
        return await self._store.find_override(user_id)

    async def set(self, user_id: str, per_second: int, burst: int) -> None:
        """`per_second` 0: no limit. Raises InvalidParam."""
        if not (0 <= per_second <= MAXIMUM and 0 <= burst <= MAXIMUM):
            raise InvalidParam(f"'messages_per_second' and 'burst_count' are numbers from 0 to {MAXIMUM}.")

        async def write(txn: Transaction) -> None:
            await self._store.set_override(txn, user_id, per_second, burst)
            txn.on_commit(lambda: self._known.update({user_id: (per_second, burst)}))

        await self._db.write(write)

    async def remove(self, user_id: str) -> None:
        def forget() -> None:
            self._known.pop(user_id, None)

        async def write(txn: Transaction) -> None:
            await self._store.remove_override(txn, user_id)
            txn.on_commit(forget)

        await self._db.write(write)
