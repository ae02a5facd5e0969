"""What rooms need of other servers. `NoFederation` answers when federation is off; `federation/` when it is on."""

from __future__ import annotations

from typing import Any, Protocol

from homeserver.protocol.errors import NotFound


class RemoteServers(Protocol):
    """Other servers, as far as rooms ask them. Every method raises NotFound when nobody can be asked."""

    async def join(self, user_id: str, room_id: str, content: dict[str, Any], via: tuple[str, ...]) -> str: ...

    async def knock(self, user_id: str, room_id: str, reason: str | None, via: tuple[str, ...]) -> str: ...

    async def leave(self, user_id: str, room_id: str, reason: str | None) -> None: ...

    async def resolve_alias(self, alias: str) -> tuple[str, list[str]] | None:
        """(room id, servers that are in it), or None when the alias does not exist."""
        ...


class NoFederation:
    """This server alone: no other server exists."""

    async def join(self, user_id: str, room_id: str, content: dict[str, Any], via: tuple[str, ...]) -> str:
        raise NotFound("This server does not know the room, and federation is off")

    async def knock(self, user_id: str, room_id: str, reason: str | None, via: tuple[str, ...]) -> str:
        raise NotFound("This server does not know the room, and federation is off")

    async def leave(self, user_id: str, room_id: str, reason: str | None) -> None:
        raise NotFound("Nobody of this room can be reached, and federation is off")

    async def resolve_alias(self, alias: str) -> tuple[str, list[str]] | None:
        return None
