"""Account data: what clients keep for their user, global and per room. Spec: Client-Server API, "Client Config"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from homeserver.protocol.errors import ControlledByServer, Forbidden, InvalidParam, NotFound, TooLarge
from homeserver.protocol.identifiers import parse_room_id
from homeserver.storage.account_data import GLOBAL, AccountData, AccountDataStore
from homeserver.storage.database import Database, Transaction
from homeserver.stream import Announcer, Change
from homeserver.users.push_rules import PushRules
from homeserver.users.requester import Requester

CONTROLLED_TYPES = ("m.fully_read", "m.push_rules")
MAXIMUM_CONTENT_BYTES = 64 * 1024
MAXIMUM_TYPE_BYTES = 255
MAXIMUM_TYPES = 1000
"""Of one user in one scope (globally, or in one room)."""
_REMEMBERED = 10_000


class AccountDataService:
    """Everything is the requester's own."""

    def __init__(self, db: Database, store: AccountDataStore, push_rules: PushRules, announcer: Announcer) -> None:
        self._db = db
        self._store = store
        self._push_rules = push_rules
        self._announcer = announcer
        self.listeners: list[Callable[[str, str], None]] = []
        """Called with (user id, type) when account data of a user has changed, from the commit."""
        self._ignored: dict[str, frozenset[str]] = {}
        self._forgotten = 0

    async def get_content(self, requester: Requester, user_id: str, room_id: str, type: str) -> dict[str, Any]:
        """Raises Forbidden, InvalidParam, NotFound. `room_id` "": global."""
        _check_scope(requester, user_id, room_id)
        if type == "m.push_rules" and room_id == GLOBAL:
            return {"global": await self._push_rules.ruleset(user_id)}
        content = await self._store.find_content(user_id, room_id, type)
        if content is None:
            raise NotFound("There is no account data of this type.")
        decoded: dict[str, Any] = msgspec.json.decode(content)
        return decoded

    async def set_content(
        self, requester: Requester, user_id: str, room_id: str, type: str, content: Mapping[str, Any]
    ) -> None:
        """Raises ControlledByServer, Forbidden, InvalidParam, TooLarge."""
        _check_scope(requester, user_id, room_id)
        if type in CONTROLLED_TYPES:
            raise ControlledByServer(f"{type} is written by the server, not through this endpoint.")
        if len(type.encode("utf-8", "surrogatepass")) > MAXIMUM_TYPE_BYTES:
            raise InvalidParam(f"A type has at most {MAXIMUM_TYPE_BYTES} bytes.")
        text = msgspec.json.encode(content).decode()
        if len(text.encode()) > MAXIMUM_CONTENT_BYTES:
            raise TooLarge(f"Account data has at most {MAXIMUM_CONTENT_BYTES} bytes.")

        async def write(txn: Transaction) -> None:
            is_new = await self._store.find_content(user_id, room_id, type, txn) is None
            if is_new and await self._store.count_types(user_id, room_id, txn) >= MAXIMUM_TYPES:
                raise TooLarge(f"There may be at most {MAXIMUM_TYPES} types of account data here.")
            await self.write_content(txn, user_id, room_id, type, text)

        await self._db.write(write)

    async def set_fully_read(self, user_id: str, room_id: str, event_id: str) -> None:
        """The fully read marker of a room, whose event the caller has checked. Spec: "Fully read markers"."""
        text = msgspec.json.encode({"event_id": event_id}).decode()
        await self._db.write(lambda txn: self.write_content(txn, user_id, room_id, "m.fully_read", text))

    async def write_content(self, txn: Transaction, user_id: str, room_id: str, type: str, text: str) -> int:
        """For other services of the server: store JSON text inside a transaction and announce it; the position."""
        position = await self._store.set_content(txn, user_id, room_id, type, text)

        def announce() -> None:
            if type == "m.ignored_user_list":
                self._forgotten += 1
                self._ignored.pop(user_id, None)
            for listener in self.listeners:
                listener(user_id, type)
            self._announcer.announce(Change.ACCOUNT_DATA, position, users=[user_id])

        txn.on_commit(announce)
        return position

    async def list_changes(self, user_id: str, after: int, up_to: int) -> list[AccountData]:
        """For /sync: what is newest in (after, up_to], with m.push_rules among it; everything where `after` is 0."""
        changes = await self._store.list_changes(user_id, after, up_to)
        position = await self._push_rules.position(user_id)
        if after == 0 or after < position <= up_to:
            content = msgspec.json.encode({"global": await self._push_rules.ruleset(user_id)}).decode()
            changes.insert(0, AccountData(GLOBAL, "m.push_rules", content, position))
        return changes

    async def ignored_users(self, user_id: str) -> frozenset[str]:
        """Whom the user does not want to hear of (m.ignored_user_list); malformed lists ignore nobody."""
        ignored = self._ignored.get(user_id)
        if ignored is None:
            forgotten = self._forgotten
            text = await self._store.find_content(user_id, GLOBAL, "m.ignored_user_list")
            content = msgspec.json.decode(text) if text is not None else {}
            listed = content.get("ignored_users") if isinstance(content, dict) else None
            ignored = frozenset(listed) - {user_id} if isinstance(listed, dict) else frozenset()
            if len(self._ignored) >= _REMEMBERED:
                self._ignored.clear()
            if forgotten == self._forgotten:
                self._ignored[user_id] = ignored
        return ignored

    def forget_all(self) -> None:
        """Drop what is in memory: another process may have changed anything."""
        self._forgotten += 1
        self._ignored.clear()


def _check_scope(requester: Requester, user_id: str, room_id: str) -> None:
    if user_id != requester.user_id:
        raise Forbidden("Account data can be read and written by its owner alone.")
    if room_id != GLOBAL:
        parse_room_id(room_id)
