"""Names of rooms, and the rooms that the public directory lists."""

from __future__ import annotations

from homeserver.storage.database import Reader, Transaction


class AliasStore:
    """Aliases of this server, and published rooms."""

    def __init__(self, db: Reader) -> None:
        self._db = db

    async def add_alias(self, txn: Transaction, alias: str, room_id: str, creator: str) -> bool:
        """Point a new alias at a room; False when it is taken already (F13)."""
        return bool(
            await txn.execute(
                "INSERT INTO aliases (alias, room_id, creator) VALUES (?, ?, ?) ON CONFLICT (alias) DO NOTHING",
                (alias, room_id, creator),
            )
        )

    async def find_alias(self, alias: str) -> tuple[str, str] | None:
        """(room id, creator) of an alias."""
        row = await self._db.fetch_one("SELECT room_id, creator FROM aliases WHERE alias = ?", (alias,))
        return None if row is None else (row[0], row[1])

    async def list_aliases(self, room_id: str) -> list[str]:
        """The local aliases of a room, sorted."""
        rows = await self._db.fetch_all("SELECT alias FROM aliases WHERE room_id = ? ORDER BY alias", (room_id,))
        return [row[0] for row in rows]

    async def remove_alias(self, txn: Transaction, alias: str, room_id: str) -> bool:
        """Take an alias of a room away; False when there was none, or it is another room's by now."""
        return bool(await txn.execute("DELETE FROM aliases WHERE alias = ? AND room_id = ?", (alias, room_id)))

    async def move_aliases(self, txn: Transaction, old_room_id: str, new_room_id: str) -> None:
        """An upgraded room's names go to its replacement."""
        await txn.execute("UPDATE aliases SET room_id = ? WHERE room_id = ?", (new_room_id, old_room_id))

    async def set_published(
        self, txn: Transaction, room_id: str, *, published: bool, appservice_id: str = "", network_id: str = ""
    ) -> None:
        """List a room in the public directory (of an application service's network), or stop listing it."""
        if published:
            await txn.execute(
                "INSERT INTO published_rooms (room_id, network_id, appservice_id) VALUES (?, ?, ?)"
                " ON CONFLICT (room_id, appservice_id, network_id) DO NOTHING",
                (room_id, network_id, appservice_id),
            )
        else:
            await txn.execute(
                "DELETE FROM published_rooms WHERE room_id = ? AND network_id = ? AND appservice_id = ?",
                (room_id, network_id, appservice_id),
            )

    async def is_published(self, room_id: str) -> bool:
        """Whether the server's own directory lists the room."""
        found = await self._db.fetch_value(
            "SELECT 1 FROM published_rooms WHERE room_id = ? AND appservice_id = '' AND network_id = ''", (room_id,)
        )
        return found is not None

    async def list_published(self, *, network: tuple[str, str] | None = ("", "")) -> list[str]:
        """Ids of listed rooms: of one (application service, network), or of all when `network` is None."""
        if network is None:
            rows = await self._db.fetch_all("SELECT DISTINCT room_id FROM published_rooms ORDER BY room_id")
        else:
            rows = await self._db.fetch_all(
                "SELECT room_id FROM published_rooms WHERE appservice_id = ? AND network_id = ? ORDER BY room_id",
                network,
            )
        return [row[0] for row in rows]
