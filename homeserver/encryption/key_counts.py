"""How many one-time keys a device has left, as every /sync says it: kept in memory until they change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from homeserver.storage.database import Transaction
from homeserver.storage.one_time_keys import OneTimeKeyStore

REMEMBERED: Final = 50_000


class KeyCounts:
    """Members of a sync answer, by device."""

    def __init__(self, store: OneTimeKeyStore) -> None:
        self._store = store
        self._known: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._generation = 0

    async def of_device(self, user_id: str, device_id: str) -> Mapping[str, Any]:
        """What is added to an answer; not to be changed.

        Also for a device without keys: an empty list of fallback keys is how clients see that the server knows them,
        and a count of zero is what some wait for before they upload.
        """
        known = self._known.get((user_id, device_id))
        if known is not None:
            return known
        while True:
            generation = self._generation
            counts = await self._store.count_keys(user_id, device_id)
            fallback = await self._store.list_fallback_algorithms(user_id, device_id)
            if generation == self._generation:
                break
        unused = [algorithm for algorithm, is_used in fallback.items() if not is_used]
        members = {
            "device_one_time_keys_count": {"signed_curve25519": 0, **counts},
            "device_unused_fallback_key_types": unused,
            "org.matrix.msc2732.device_unused_fallback_key_types": unused,
        }
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[user_id, device_id] = members
        return members

    def changed(self, txn: Transaction, user_id: str, device_id: str) -> None:
        """The keys of a device change in this transaction. It takes a place in the stream, for that is how other
        processes learn that what they remember is old."""
        txn.next_position()

        def forget() -> None:
            self._generation += 1
            self._known.pop((user_id, device_id), None)

        txn.on_commit(forget)

    def forget_all(self) -> None:
        """Another process may have changed anything."""
        self._generation += 1
        self._known.clear()
