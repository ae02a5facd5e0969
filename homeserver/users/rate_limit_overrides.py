"""Single users for whom another limit of sending holds, or none; in memory, since every message asks."""

from __future__ import annotations

from homeserver.protocol.errors import InvalidParam
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rate_limit_overrides import RateLimitOverrideStore


class RateLimitOverrides:
    """Set by operators; (events a second, events at once), both 0 for no limit."""

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
        """Raises InvalidParam."""
        if per_second < 0 or burst < 0 or (per_second == 0) != (burst == 0):
            raise InvalidParam("'messages_per_second' and 'burst_count' are both above 0, or both 0 for no limit.")

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
