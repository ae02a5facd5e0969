"""Rooms that an operator has blocked: nobody of this server enters them, whether the server knows them yet or not."""

from __future__ import annotations

from homeserver.clock import Clock
from homeserver.hooks import InviteToCheck
from homeserver.protocol.errors import Forbidden
from homeserver.storage.blocked_rooms import BlockedRoomStore
from homeserver.storage.database import Database, Transaction

BLOCKED = "This room has been blocked on this server."


class RoomBlocks:
    """Kept in memory, since every join asks; read when it is first asked for."""

    def __init__(self, db: Database, store: BlockedRoomStore, clock: Clock) -> None:
        self._db = db
        self._store = store
        self._clock = clock
        self._blocked: dict[str, str] | None = None

    async def find_blocker(self, room_id: str) -> str | None:
        """Who blocked the room; None when it is not blocked."""
        return (await self._known()).get(room_id)

    async def check_may_enter(self, room_id: str) -> None:
        """Raises Forbidden for a blocked room."""
        if await self.find_blocker(room_id) is not None:
            raise Forbidden(BLOCKED)

    async def check_invite(self, invite: InviteToCheck) -> None:
        """The hook, also for invites that other servers send."""
        await self.check_may_enter(invite.room_id)

    async def block(self, room_id: str, user_id: str) -> None:
        known = await self._known()
        now = self._clock.now_ms()

        async def job(txn: Transaction) -> None:
            await self._store.add_blocked(txn, room_id, user_id, now)
            txn.on_commit(lambda: known.update({room_id: known.get(room_id, user_id)}))

        await self._db.write(job)

    async def unblock(self, room_id: str) -> None:
        known = await self._known()

        def forget() -> None:
            known.pop(room_id, None)

        async def job(txn: Transaction) -> None:
            await self._store.remove_blocked(txn, room_id)
            txn.on_commit(forget)

        await self._db.write(job)

    def forget_all(self) -> None:
        """Another process may have blocked rooms."""
        self._blocked = None

    async def _known(self) -> dict[str, str]:
        if self._blocked is None:
            found = await self._store.list_blocked()
            if self._blocked is None:
                self._blocked = found
        return self._blocked
