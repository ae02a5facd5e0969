"""Transaction ids: a repeated request gets the first answer, also while the first is still under way, and after a restart.

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


def transaction_key(device_id: str, event_type: str, txn_id: str) -> str:
    """How a transaction is stored beside the event that it made; the room and the sender are columns of their own."""
    return SEPARATOR.join((device_id, event_type, txn_id))


class SendTransactions:
    """Remembers which event a transaction made."""

    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._answers: OrderedDict[tuple[str, str, str], asyncio.Future[str]] = OrderedDict()
        self._new_here: set[tuple[str, str]] = set()

    def note_new_device(self, user_id: str, device_id: str) -> None:
        """A device that was made since this process began: nothing of it is anywhere but in memory."""
        self._new_here.add((user_id, device_id))

    async def once(
        self, sender: str, device_id: str, room_id: str, key: str, send: Callable[[], Awaitable[str]]
    ) -> str:
        """The id of the event that `send` makes, or that it made the first time."""
        memory_key = (sender, room_id, key)
        earlier = self._answers.get(memory_key)
        if earlier is not None:
            return await asyncio.shield(earlier)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers[memory_key] = answer
        try:
            event_id: str | None = None
            if (sender, device_id) not in self._new_here:
                event_id = await self._events.find_by_transaction(sender, room_id, key)
            if event_id is None:
                event_id = await send()
        except BaseException as error:
            self._answers.pop(memory_key, None)
            if not answer.done():
                if isinstance(error, asyncio.CancelledError):
                    answer.cancel()
                else:
                    answer.set_exception(error)
                    answer.exception()
            raise
        answer.set_result(event_id)
        if len(self._answers) > KEPT:
            (user_id, _, old_key), _ = self._answers.popitem(last=False)
            self._new_here.discard((user_id, old_key.partition(SEPARATOR)[0]))
        return event_id
