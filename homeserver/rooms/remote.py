"""What rooms need of other servers. `NoFederation` answers when federation is off; `federation/` when it is on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from homeserver.protocol.errors import Forbidden, NotFound
from homeserver.protocol.events import Event

if TYPE_CHECKING:
    from homeserver.rooms.live_room import LiveRoom

MAY_NOT_JOIN: Final = "There is no such room, or you may not join it without an invite"
MAY_NOT_KNOCK: Final = "There is no such room, or you may not knock at it"


class RemoteServers(Protocol):
    """Other servers, as far as rooms ask them. When nobody can be asked, `leave` raises NotFound, `join` and
    `knock` the same Forbidden as for a room that lets nobody in (G12)."""

    async def join(self, user_id: str, room_id: str, content: dict[str, Any], via: tuple[str, ...]) -> str: ...

    async def knock(self, user_id: str, room_id: str, reason: str | None, via: tuple[str, ...]) -> str: ...

    async def leave(self, user_id: str, room_id: str, reason: str | None) -> None: ...

    async def resolve_alias(self, alias: str) -> tuple[str, list[str]] | None:
        """(room id, servers that are in it), or None when the alias does not exist."""
        ...

    async def list_public_rooms(self, server: str, query: dict[str, Any]) -> dict[str, Any]:
        """A page of another server's directory; `query` is the body of the Server-Server API's request. Raises
        NotFound when it cannot be asked."""
        ...

    async def backfill(self, room: LiveRoom) -> bool:
        """Fetch more of the room's past; whether there was any."""
        ...

    async def countersign(self, room: LiveRoom, invite: Event) -> Event | None:
        """Our invite of a user of another server, signed by that server too; None when that is not needed. Raises
        Forbidden when the other server does not want it."""
        ...


class NoFederation:
    """This server alone: no other server exists."""

    async def join(self, user_id: str, room_id: str, content: dict[str, Any], via: tuple[str, ...]) -> str:
        raise Forbidden(MAY_NOT_JOIN)

    async def knock(self, user_id: str, room_id: str, reason: str | None, via: tuple[str, ...]) -> str:
        raise Forbidden(MAY_NOT_KNOCK)

    async def leave(self, user_id: str, room_id: str, reason: str | None) -> None:
        raise NotFound("Nobody of this room can be reached, and federation is off")

    async def resolve_alias(self, alias: str) -> tuple[str, list[str]] | None:
        return None

    async def list_public_rooms(self, server: str, query: dict[str, Any]) -> dict[str, Any]:
        raise NotFound("The directory of that server cannot be asked from here")

    async def backfill(self, room: LiveRoom) -> bool:
        return False

    async def countersign(self, room: LiveRoom, invite: Event) -> Event | None:
        return None
