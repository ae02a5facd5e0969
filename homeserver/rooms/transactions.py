"""Transaction ids: a repeated request gets the first answer, also while that is under way, and after a restart.

Spec: Client-Server API, "Transaction identifiers": the scope is one device and one endpoint with its path.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from homeserver.storage.events import EventStore

KEPT: Final = 20_000
SEPARATOR: Final = "\x1f"
DELAYED: Final = "org.matrix.msc4140"
"""In place of the event type, where the transaction id is a delay id: an event that was sent by the clock."""


def transaction_key(device_id: str, event_type: str, txn_id: str) -> str:
    """How a transaction is stored beside the event that it made; the room and the sender are columns of their own."""
    return SEPARATOR.join((device_id, event_type, txn_id))


def split_transaction_key(key: str) -> tuple[str, str, str]:
    """(device id, event type, transaction id) of what `transaction_key` made; clients may put anything in the last."""
    device_id, _, rest = key.partition(SEPARATOR)
    event_type, _, txn_id = rest.partition(SEPARATOR)
    return device_id, event_type, txn_id


class SendTransactions:
    """Remembers which event a transaction made."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._answers: OrderedDict[tuple[str, str, str], asyncio.Future[str]] = OrderedDict()
        self._new_here: dict[tuple[str, str], bool] = {}

    async def once(
        self, sender: str, device_id: str, room_id: str, key: str, send: Callable[[], Awaitable[str]]
    ) -> str:
        """The id of the event that `send` makes, or that it made the first time."""
        memory_key = (sender, room_id, key)
        earlier = self._answers.get(memory_key)
        if earlier is None:
            # A task of its own: a client that goes away and asks again must find the first attempt, not cancel it.
            earlier = asyncio.ensure_future(self._find_or_send(sender, device_id, room_id, key, send))
            self._answers[memory_key] = earlier
            earlier.add_done_callback(lambda task: self._done(memory_key, task))
        return await asyncio.shield(earlier)

    async def _find_or_send(
        self, sender: str, device_id: str, room_id: str, key: str, send: Callable[[], Awaitable[str]]
    ) -> str:
        device = (sender, device_id)
        is_new = self._new_here.get(device)
        if is_new is None:
            # A device that sent nothing before this process began has all of its transactions in memory.
            is_new = not await self._events.has_transactions(sender, device_id, SEPARATOR)
            if len(self._new_here) >= KEPT:
                self._new_here.clear()
            self._new_here[device] = is_new
        if not is_new:
            event_id = await self._events.find_by_transaction(sender, room_id, key)
            if event_id is not None:
                return event_id
        return await send()

    def _done(self, memory_key: tuple[str, str, str], task: asyncio.Future[str]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._answers.pop(memory_key, None)
        elif len(self._answers) > KEPT:
            (user_id, _, old_key), _ = self._answers.popitem(last=False)
            self._new_here[user_id, old_key.partition(SEPARATOR)[0]] = False
