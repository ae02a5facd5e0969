"""Names of rooms (`#name:server`): who may give, read and take them. Spec: Client-Server API, "Room aliases"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from homeserver.protocol.errors import (
    AliasTaken,
    BadAlias,
    Exclusive,
    Forbidden,
    InvalidParam,
    NotFound,
    NotInRoom,
    Unknown,
)
from homeserver.protocol.identifiers import domain_of, parse_room_alias
from homeserver.rooms.live_room import LiveRooms
from homeserver.rooms.remote import RemoteServers
from homeserver.storage.aliases import AliasStore
from homeserver.storage.database import Database, Transaction


class AliasNamespaces(Protocol):
    """Aliases that application services keep for themselves."""

    def alias_is_reserved(self, alias: str, user_id: str) -> bool:
        """Whether `user_id` may not use this alias."""
        ...

    async def ask_for_alias(self, alias: str) -> bool:
        """Ask the application service whose namespace it is to create the alias; True when it did."""
        ...


class Aliases:
    """Room aliases of this server, and the way to those of others."""

    def __init__(
        self,
        *,
        db: Database,
        store: AliasStore,
        rooms: LiveRooms,
        remote: RemoteServers,
        namespaces: AliasNamespaces,
        server_name: str,
    ) -> None:
        self._db = db
        self._store = store
        self._rooms = rooms
        self._remote = remote
        self._namespaces = namespaces
        self._server_name = server_name

    def new_alias(self, localpart: str) -> str:
        """The alias of this server with a localpart. Raises InvalidParam."""
        if not localpart or any(char.isspace() for char in localpart) or set(localpart) & {"#", ":", "\0"}:
            raise InvalidParam("room_alias_name must not be empty nor hold spaces, # or :")
        return parse_room_alias(f"#{localpart}:{self._server_name}")

    async def check_may_create(self, user_id: str, alias: str) -> None:
        """Raises InvalidParam for aliases of other servers and Exclusive for those of application services."""
        if domain_of(parse_room_alias(alias)) != self._server_name:
            raise InvalidParam(f"Only aliases of {self._server_name} can be made here")
        if self._namespaces.alias_is_reserved(alias, user_id):
            raise Exclusive("An application service keeps this alias for itself")

    async def find(self, alias: str) -> tuple[str, list[str]] | None:
        """(room id, servers) that an alias points at."""
        if domain_of(alias) != self._server_name:
            return await self._remote.resolve_alias(alias)
        found = await self._store.find_alias(alias)
        if found is None and await self._namespaces.ask_for_alias(alias):
            found = await self._store.find_alias(alias)
        return None if found is None else (found[0], [self._server_name])

    async def get(self, alias: str) -> tuple[str, list[str]]:
        """As `find`; raises NotFound."""
        found = await self.find(parse_room_alias(alias))
        if found is None:
            raise NotFound(f"The alias {alias} does not exist")
        return found

    async def add(self, user_id: str, alias: str, room_id: str, servers: Sequence[str] = ()) -> None:
        """Give a room that the user is in a name. Raises Forbidden, and AliasTaken when the name is taken (F13)."""

        async def job(txn: Transaction) -> bool:
            return await self._store.add_alias(txn, alias, room_id, user_id)

        await self.check_may_create(user_id, alias)
        room = await self._rooms.find(room_id)
        if room is None or room.membership(user_id) != "join":
            raise NotInRoom()
        if not await self._db.write(job):
            raise AliasTaken(f"The alias {alias} is taken")

    async def remove(self, user_id: str, alias: str, *, is_admin: bool = False) -> None:
        """Take a name away: its creator, people with the power to set canonical aliases, and admins may (F13)."""

        async def job(txn: Transaction) -> None:
            await self._store.remove_alias(txn, alias, room_id)

        parse_room_alias(alias)
        found = await self._store.find_alias(alias)
        if found is None:
            raise NotFound(f"The alias {alias} does not exist")
        room_id, creator = found
        if self._namespaces.alias_is_reserved(alias, user_id):
            raise Exclusive("An application service keeps this alias for itself")
        if creator != user_id and not is_admin and not await self._may_manage(user_id, room_id):
            raise Forbidden("You may not delete this alias")
        await self._db.write(job)

    async def list_local(self, user_id: str, room_id: str, *, is_admin: bool = False) -> list[str]:
        """The local aliases of a room, for its members and for anybody if it is world readable."""
        room = await self._rooms.get(room_id)
        if room.membership(user_id) != "join" and room.history_visibility != "world_readable" and not is_admin:
            raise NotInRoom()
        return await self._store.list_aliases(room_id)

    async def names_of(self, room_id: str) -> list[str]:
        """The local aliases of a room."""
        return await self._store.list_aliases(room_id)

    async def check_canonical(self, content: dict[str, object], room_id: str, previous: dict[str, object]) -> None:
        """Refuse an m.room.canonical_alias that names aliases of other rooms. Raises BadAlias, InvalidParam."""
        named = content.get("alt_aliases", [])
        known = previous.get("alt_aliases", [])
        if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
            raise InvalidParam("alt_aliases must be a list of aliases")
        old = [*(known if isinstance(known, list) else ()), previous.get("alias")]
        for alias in [content.get("alias"), *named]:
            if alias is None or alias in old or alias == "":
                continue
            if not isinstance(alias, str):
                raise InvalidParam("alias must be a string")
            found = await self.find(parse_room_alias(alias))
            if found is None or found[0] != room_id:
                raise BadAlias(f"The alias {alias} does not point at this room")

    async def set_published(
        self, room_id: str, *, published: bool, appservice_id: str = "", network_id: str = ""
    ) -> None:
        """List a room in the public directory, or stop listing it."""

        async def job(txn: Transaction) -> None:
            await self._store.set_published(
                txn, room_id, published=published, appservice_id=appservice_id, network_id=network_id
            )

        await self._db.write(job)

    async def change_published(self, user_id: str, room_id: str, *, published: bool, is_admin: bool = False) -> None:
        """The same by a user, who needs the power to set the canonical alias."""
        room = await self._rooms.get(room_id)
        if not is_admin and room.membership(user_id) != "join":
            raise NotInRoom()
        if not is_admin and not await self._may_manage(user_id, room_id):
            raise Forbidden("You may not change whether this room is listed")
        await self.set_published(room_id, published=published)

    async def is_published(self, room_id: str) -> bool:
        if await self._rooms.find(room_id) is None:
            raise NotFound("This server does not know the room")  # the specification's own answer
        return await self._store.is_published(room_id)

    async def _may_manage(self, user_id: str, room_id: str) -> bool:
        room = await self._rooms.find(room_id)
        if room is None:
            raise Unknown("The room of this alias is not known here")
        levels = room.power_levels
        return room.membership(user_id) == "join" and levels.of(user_id) >= levels.needed_for(
            "m.room.canonical_alias", is_state=True
        )
