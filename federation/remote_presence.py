"""Who is there on other servers, as those say: of users that share a room with ours, at most every ten seconds (D16),
and only as long as their server goes on saying so.

Spec: Server-Server API, "Presence".
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from homeserver.clock import Clock, Timer
from homeserver.protocol.errors import Unavailable
from homeserver.storage.presence import PresenceStore
from homeserver.storage.remote_devices import RemoteDeviceStore
from homeserver.users.presence import Presence, State

COALESCE_MS: Final = 10_000
SILENCE_MS: Final = 30 * 60_000
"""Servers say it again within this time (`outgoing_edus.py`); whose server does not is offline."""
TICK_SECONDS: Final = 10.0
STATUS_MAX: Final = 512
USERS_MAX: Final = 100_000

_log = logging.getLogger("federation.presence")

Said = tuple[State, str | None, int]
"""(state, status message, milliseconds since it did anything)."""


class RemotePresence:
    """Takes what they say, and notices when they say nothing more."""

    def __init__(
        self, store: PresenceStore, sharing: RemoteDeviceStore, presence: Presence, clock: Clock, own_name: str
    ) -> None:
        self._store = store
        self._sharing = sharing
        self._presence = presence
        self._clock = clock
        self._own_name = own_name
        self._heard: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._pending: dict[str, Said] = {}
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Who was there when the last run ended has as long as anybody to say so again."""
        for user_id in await self._store.list_present(self._own_name):
            self._heard[user_id] = self._clock.now_ms()
        self._tick_later()

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def receive(self, said: dict[str, Said]) -> None:
        """What a server says of its users, by user."""
        known = {user_id for user_id in said if user_id in self._heard}
        strangers = [user_id for user_id in said if user_id not in known]
        if strangers:
            known |= await self._sharing.list_sharing_any(self._own_name, strangers)
        now = self._clock.now_ms()
        for user_id in known:
            if self._told.get(user_id, 0) + COALESCE_MS > now or len(self._heard) >= USERS_MAX:
                self._pending[user_id] = said[user_id]
            else:
                await self._tell(user_id, said[user_id], now)
        self._tick_later()

    async def _tell(self, user_id: str, said: Said, now: int) -> None:
        state, status, ago = said
        if state == "offline":
            self._heard.pop(user_id, None)
        else:
            self._heard[user_id] = now
        self._told[user_id] = now
        shown = None if status is None else status[:STATUS_MAX].replace("\0", "")
        await self._presence.set_remote(user_id, state, shown, ago)

    def _tick_later(self) -> None:
        if self._timer is None and (self._heard or self._pending):
            self._timer = self._clock.call_later(TICK_SECONDS, self._tick_soon)

    def _tick_soon(self) -> None:
        self._timer = None
        self._task = asyncio.ensure_future(self._tick())

    async def _tick(self) -> None:
        now = self._clock.now_ms()
        try:
            pending, self._pending = self._pending, {}
            for user_id, said in pending.items():
                await self._tell(user_id, said, now)
            for user_id in [one for one, heard in self._heard.items() if heard + SILENCE_MS <= now]:
                await self._tell(user_id, ("offline", None, SILENCE_MS), now)
            self._told = {user_id: told for user_id, told in self._told.items() if told + COALESCE_MS > now}
        except Unavailable as error:
            _log.warning("Presence waits for the database: %s", error)
        finally:
            self._tick_later()
