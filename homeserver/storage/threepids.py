"""Third-party identifiers (e-mail addresses, phone numbers) of accounts as stored rows."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Transaction


@dataclass(frozen=True, slots=True)
class Threepid:
    """`medium` is "email" or "msisdn", `address` canonical. Times in milliseconds."""

    medium: str
    address: str
    user_id: str
    validated_ts: int
    added_ts: int


class ThreepidStore:
    """The tables `threepids` and `threepid_bindings`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_owner(self, medium: str, address: str, reader: Reader | None = None) -> str | None:
        """The user id whose address it is."""
        owner: str | None = await (reader or self._db).fetch_value(
            "SELECT user_id FROM threepids WHERE medium = ? AND address = ?", (medium, address)
        )
        return owner

    async def list_threepids(self, user_id: str) -> list[Threepid]:
        """In the order in which they were added."""
        rows = await self._db.fetch_all(
            "SELECT medium, address, user_id, validated_ts, added_ts FROM threepids WHERE user_id = ? "
            "ORDER BY added_ts, medium, address",
            (user_id,),
        )
        return [Threepid(*row) for row in rows]

    async def add_threepid(self, txn: Transaction, threepid: Threepid) -> bool:
        """False if it belongs to somebody else; somebody's own is validated anew."""
        added = await txn.execute(
            "INSERT INTO threepids (medium, address, user_id, validated_ts, added_ts) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (medium, address) DO UPDATE SET validated_ts = excluded.validated_ts "
            "WHERE threepids.user_id = excluded.user_id",
            (threepid.medium, threepid.address, threepid.user_id, threepid.validated_ts, threepid.added_ts),
        )
        return added == 1

    async def remove_threepid(self, txn: Transaction, user_id: str, medium: str, address: str) -> bool:
        removed = await txn.execute(
            "DELETE FROM threepids WHERE user_id = ? AND medium = ? AND address = ?", (user_id, medium, address)
        )
        return removed == 1

    async def remove_threepids_of_user(self, txn: Transaction, user_id: str) -> None:
        await txn.execute("DELETE FROM threepids WHERE user_id = ?", (user_id,))

    async def add_binding(self, txn: Transaction, user_id: str, medium: str, address: str, id_server: str) -> None:
        await txn.execute(
            "INSERT INTO threepid_bindings (user_id, medium, address, id_server) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (user_id, medium, address, id_server) DO NOTHING",
            (user_id, medium, address, id_server),
        )

    async def list_bindings(self, user_id: str) -> list[tuple[str, str, str]]:
        """(medium, address, id_server) of everything that is bound for the user."""
        rows = await self._db.fetch_all(
            "SELECT medium, address, id_server FROM threepid_bindings WHERE user_id = ? "
            "ORDER BY medium, address, id_server",
            (user_id,),
        )
        return [(row[0], row[1], row[2]) for row in rows]

    async def remove_binding(self, txn: Transaction, user_id: str, medium: str, address: str, id_server: str) -> None:
        await txn.execute(
            "DELETE FROM threepid_bindings WHERE user_id = ? AND medium = ? AND address = ? AND id_server = ?",
            (user_id, medium, address, id_server),
        )
