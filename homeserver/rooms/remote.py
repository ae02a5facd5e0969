"""What rooms need of other servers. `NoFederation` answers when federation is off; `federation/` when it is on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from homeserver.protocol.errors import Forbidden, NotFound
from homeserver.protocol.events import Event

if TYPE_CHECKING:
    from homeserver.rooms.live_room import LiveRoom
    from homeserver.storage.events import StoredEvent

MAY_NOT_JOIN: Final = "There is no such room, or you may not join it without an invite"
MAY_NOT_KNOCK: Final = "There is no such room, or you may not knock at it"


@dataclass(frozen=True, slots=True)
class RemoteRoom:
    """A room as another server tells of it, in a form that clients can be handed. `summary`: a `RoomSummary` of the
    specification. `children_state`: its m.space.child events. `children`: by id, the summaries of those rooms below it
    of which that server knows; `inaccessible`: those below it that this server's users may not know of."""

    summary: Mapping[str, Any]
    children_state: Sequence[Mapping[str, Any]] = ()
    children: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inaccessible: frozenset[str] = frozenset()


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

    async def describe_room(
        self, user_id: str, room_id: str, via: Sequence[str], *, suggested_only: bool = False
    ) -> RemoteRoom | None:
        """What other servers tell of a room that this one is not in, and of those below it; None when nobody does.
        Whether the user may know of it is for the caller to say."""
        ...

    async def backfill(self, room: LiveRoom) -> bool:
        """Fetch more of the room's past; whether there was any."""
        ...

    async def fetch_event(self, room: LiveRoom, event_id: str) -> StoredEvent | None:
        """An event of the room's past, kept here from now on, perhaps without a place in the timeline; None when there
        is none, or nothing of the room is missing here."""
        ...

    async def event_near(self, room: LiveRoom, timestamp_ms: int, *, forward: bool) -> StoredEvent | None:
        """The same by time: what other servers know nearest to it in one direction."""
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

    async def describe_room(
        self, user_id: str, room_id: str, via: Sequence[str], *, suggested_only: bool = False
    ) -> RemoteRoom | None:
        return None

    async def backfill(self, room: LiveRoom) -> bool:
        return False

    async def fetch_event(self, room: LiveRoom, event_id: str) -> StoredEvent | None:
        return None

    async def event_near(self, room: LiveRoom, timestamp_ms: int, *, forward: bool) -> StoredEvent | None:
        return None

    async def countersign(self, room: LiveRoom, invite: Event) -> Event | None:
        return None
