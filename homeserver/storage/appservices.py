"""How far each application service has been told of the stream."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Reader, Transaction


@dataclass(frozen=True, slots=True)
class AppservicePlace:
    """Everything up to `position` is acknowledged. `pending_up_to`: transaction `last_txn` was begun, with the events
    after `position` up to there, and not acknowledged yet."""

    position: int
    last_txn: int
    pending_up_to: int | None


class AppserviceStore:
    """The table `appservice_places`."""

    def __init__(self, db: Reader) -> None:
        self._db = db

    async def find_place(self, appservice_id: str) -> AppservicePlace | None:
        row = await self._db.fetch_one(
            "SELECT position, last_txn, pending_up_to FROM appservice_places WHERE appservice_id = ?",
            (appservice_id,),
        )
        return None if row is None else AppservicePlace(row[0], row[1], row[2])

    def set_place(self, txn: Transaction, appservice_id: str, place: AppservicePlace) -> None:
        txn.put(
            "INSERT INTO appservice_places (appservice_id, position, last_txn, pending_up_to) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (appservice_id) DO UPDATE SET position = excluded.position, last_txn = excluded.last_txn,"
            " pending_up_to = excluded.pending_up_to",
            appservice_id,
            (appservice_id, place.position, place.last_txn, place.pending_up_to),
        )
