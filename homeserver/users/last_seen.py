"""When and from where each device was last seen: noted in memory at every request, written once a minute."""

from __future__ import annotations

import asyncio

from homeserver.clock import Clock, Timer
from homeserver.protocol.errors import Unavailable
from homeserver.storage.database import Database, Transaction
from homeserver.storage.devices import DeviceStore

FLUSH_SECONDS = 60.0
_USER_AGENT_LENGTH = 256


class LastSeen:
    """Devices seen since the last flush. `note` is on the path of every request, so it only fills a dict."""

    def __init__(self, db: Database, devices: DeviceStore, clock: Clock) -> None:
        self._db = db
        self._devices = devices
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[int, str, str]] = {}
        self._timer: Timer | None = None
        self._flushing: asyncio.Task[None] | None = None

    def note(self, user_id: str, device_id: str, client_address: str, user_agent: str) -> None:
        self._seen[(user_id, device_id)] = (self._clock.now_ms(), client_address, user_agent)
        if self._timer is None:
            self._timer = self._clock.call_later(FLUSH_SECONDS, self._flush_soon)

    def find(self, user_id: str, device_id: str) -> tuple[int, str, str] | None:
        """(timestamp in ms, address, user agent) if it was seen since the last flush."""
        return self._seen.get((user_id, device_id))

    async def flush(self) -> None:
        """Write what was noted; called once a minute and at shutdown. What cannot be written now is kept."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        rows = [
            (timestamp, address, user_agent[:_USER_AGENT_LENGTH], user_id, device_id)
            for (user_id, device_id), (timestamp, address, user_agent) in seen.items()
        ]

        async def write(txn: Transaction) -> None:
            await self._devices.set_last_seen(txn, rows)

        try:
            await self._db.write(write)
        except Unavailable:
            self._seen = {**seen, **self._seen}

    def close(self) -> None:
        """Stop the timer; call `flush` first to lose nothing."""
        if self._timer is not None:
            self._timer.cancel()

    def _flush_soon(self) -> None:
        self._timer = None
        self._flushing = asyncio.get_running_loop().create_task(self.flush())
