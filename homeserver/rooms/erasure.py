"""Users whose accounts ended with the wish to be erased: what they sent is shown only to those who were there.

Spec: Client-Server API, `POST /account/deactivate` with `erase`. Whoever joins later gets their messages empty, as if
they had been redacted, and finds none of them by its words.
"""

from __future__ import annotations

from homeserver.protocol.events import Event
from homeserver.protocol.redaction import redact
from homeserver.storage.accounts import AccountStore
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.purges import PurgeStore


class Erasure:
    """Who was erased, in memory; read once, when a room is first looked at."""

    def __init__(self, db: Database, accounts: AccountStore, purges: PurgeStore) -> None:
        self._db = db
        self._accounts = accounts
        self._purges = purges
        self._erased: set[str] = set()
        self._is_loaded = False

    async def load(self) -> None:
        """Read who was erased, unless that is known."""
        if not self._is_loaded:
            self._erased.update(await self._accounts.list_erased())
            self._is_loaded = True

    def forget_all(self) -> None:
        """Another process may have erased somebody."""
        self._is_loaded = False

    async def erase(self, user_id: str) -> None:
        """From now on; and out of the search index, where words stand without regard to who reads."""
        self._erased.add(user_id)
        while positions := await self._purges.list_indexed_of(user_id):
            part = positions
            await self._db.write(lambda txn, part=part: self._purges.remove_from_search(txn, part))  # type: ignore[misc]

    def forget(self, user_id: str) -> None:
        """The account was opened again."""
        self._erased.discard(user_id)

    def is_erased(self, user_id: str) -> bool:
        return user_id in self._erased

    def hides(self, stored: StoredEvent, membership: str | None) -> bool:
        """Whether a reader with this membership at the time (None: not known) gets the event empty. State keeps saying
        how the room is where nobody says what the reader was."""
        if not self._erased or stored.event.sender not in self._erased:
            return False
        if membership is None:
            return stored.event.state_key is None
        return membership != "join"


def emptied(stored: StoredEvent) -> StoredEvent:
    """The event as a redaction would leave it, for one answer."""
    version = stored.event.room_version
    pdu = redact(stored.event.pdu, version)
    return StoredEvent(Event(pdu, version, stored.event_id), stored.position, status=stored.status)
