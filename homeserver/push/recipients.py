"""Whether anything may leave for a pusher: nothing goes to people who may not act, or to sessions that have ended."""

from __future__ import annotations

from homeserver.clock import Clock
from homeserver.storage.push_queue import PushQueue
from homeserver.storage.pushers import Pusher
from homeserver.users.accounts import Accounts


class Recipients:
    """Asked before each delivery, so that a lock holds for what waits already."""

    def __init__(self, accounts: Accounts, queue: PushQueue, clock: Clock) -> None:
        self._accounts = accounts
        self._queue = queue
        self._clock = clock

    async def may_receive(self, pusher: Pusher) -> bool:
        """False for locked, suspended and deactivated accounts, and for devices whose tokens have all expired.

        The pusher stays: who logs in again on the device, or is unlocked, goes on with it."""
        account = await self._accounts.find_account(pusher.user_id)
        if account is None or account.is_locked or account.is_suspended or account.is_deactivated:
            return False
        if not pusher.device_id or account.appservice_id is not None:
            return True
        return await self._queue.has_session(pusher.user_id, pusher.device_id, self._clock.now_ms())
