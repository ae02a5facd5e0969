"""Who comes into a room is told of, and told: servers that now share a room with users of ours hear of their devices,
and of who of them is there.

Spec: Server-Server API, "Device Management" ("when that user joins a room which contains servers which are not already
receiving updates for that user's device list"), "Presence".
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from federation.outgoing_edus import OutgoingEdus
from homeserver.protocol.errors import Unavailable
from homeserver.protocol.identifiers import domain_of
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.services import RoomServices
from homeserver.stream import Change, Stream
from homeserver.users.services import UserServices

PRESENT_MAX: Final = 200
"""Of so many of our users in a room a server that is new there is told at once; of the others when they stir."""

_log = logging.getLogger("federation.arrivals")


class Arrivals:
    """Watches who joins."""

    def __init__(
        self, *, edus: OutgoingEdus, rooms: RoomServices, users: UserServices, stream: Stream, own_name: str
    ) -> None:
        self._edus = edus
        self._rooms = rooms
        self._users = users
        self._stream = stream
        self._own_name = own_name
        self._users_moved: set[str] = set()
        self._place = 0
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._place = self._stream.position
        self._stream.listen(self._changed)
        self._task = asyncio.create_task(self._run(), name="arrivals in rooms of other servers")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is Change.MEMBERSHIP:
            self._users_moved.update(users)
            self._moved.set()

    async def _run(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            users, self._users_moved = self._users_moved, set()
            after, self._place = self._place, self._stream.position
            try:
                for room_id, user_id in await self._rooms.store.list_joins(sorted(users), after):
                    room = await self._rooms.live.find(room_id)
                    if room is not None and len(room.servers) > 1:
                        await self._arrived(room, user_id)
            except Unavailable as error:
                _log.warning("Arrivals are not told of: %s", error)
            except Exception:
                _log.exception("Arrivals could not be told of")

    async def _arrived(self, room: LiveRoom, user_id: str) -> None:
        server = domain_of(user_id)
        if server == self._own_name:
            others = self._edus.servers_of(room) - await self._known_to(room, user_id)
            await self._edus.tell_devices_to(user_id, others)
            if self._users.presence.is_here(user_id):
                await self._edus.tell_presence_to([user_id], others)
        elif room.servers.get(server) == 1:
            ours = (one for one in room.joined_members() if domain_of(one) == self._own_name)
            here = [one for one in ours if self._users.presence.is_here(one)]
            await self._edus.tell_presence_to(here[:PRESENT_MAX], frozenset({server}))

    async def _known_to(self, room: LiveRoom, user_id: str) -> frozenset[str]:
        """Servers that share another room with the user, as far as those rooms are in memory: a server that is told
        what it knows takes no harm."""
        known: frozenset[str] = frozenset()
        for room_id in await self._rooms.memberships.joined_rooms(user_id):
            other = self._rooms.live.peek(room_id) if room_id != room.room_id else None
            if other is not None:
                known |= frozenset(other.servers)
        return known
