"""Tags of rooms, which are account data of the type m.tag. Spec: Client-Server API, "Room Tagging"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from homeserver.protocol.errors import Forbidden, InvalidParam, TooLarge
from homeserver.protocol.identifiers import parse_room_id
from homeserver.storage.account_data import AccountDataStore
from homeserver.storage.database import Database, Transaction
from homeserver.users.account_data import MAXIMUM_CONTENT_BYTES, AccountDataService
from homeserver.users.requester import Requester

MAXIMUM_NAME_BYTES = 255
MAXIMUM_TAGS = 100
"""On one room."""

Change = Callable[[dict[str, Any]], bool]
"""Changes tags in place; False when nothing was to be done."""


class Tags:
    """Everything is the requester's own."""

    def __init__(self, db: Database, store: AccountDataStore, account_data: AccountDataService) -> None:
        self._db = db
        self._store = store
        self._account_data = account_data

    async def list_tags(self, requester: Requester, user_id: str, room_id: str) -> dict[str, Any]:
        """Names and their objects. Raises Forbidden, InvalidParam."""
        _check_scope(requester, user_id, room_id)
        return _tags_of(await self._store.find_content(user_id, room_id, "m.tag"))

    async def set_tag(
        self, requester: Requester, user_id: str, room_id: str, tag: str, content: Mapping[str, Any]
    ) -> None:
        """Raises Forbidden, InvalidParam (name too long, `order` not in 0 to 1), TooLarge."""
        _check_scope(requester, user_id, room_id)
        if not 0 < len(tag.encode("utf-8", "surrogatepass")) <= MAXIMUM_NAME_BYTES:
            raise InvalidParam(f"The name of a tag has 1 to {MAXIMUM_NAME_BYTES} bytes.")
        order = content.get("order")
        if order is not None and (isinstance(order, bool) or not isinstance(order, int | float) or not 0 <= order <= 1):
            raise InvalidParam("'order' must be a number from 0 to 1.")

        def change(tags: dict[str, Any]) -> bool:
            tags[tag] = dict(content)
            if len(tags) > MAXIMUM_TAGS or len(msgspec.json.encode(tags)) > MAXIMUM_CONTENT_BYTES:
                raise TooLarge(f"A room has at most {MAXIMUM_TAGS} tags, of {MAXIMUM_CONTENT_BYTES} bytes together.")
            return True

        await self._db.write(lambda txn: self._change(txn, user_id, room_id, change))

    async def remove_tag(self, requester: Requester, user_id: str, room_id: str, tag: str) -> None:
        """Also fine when it is not there. Raises Forbidden, InvalidParam."""
        _check_scope(requester, user_id, room_id)
        await self._db.write(
            lambda txn: self._change(txn, user_id, room_id, lambda tags: tags.pop(tag, None) is not None)
        )

    async def _change(self, txn: Transaction, user_id: str, room_id: str, change: Change) -> None:
        tags = _tags_of(await self._store.find_content(user_id, room_id, "m.tag", txn))
        if change(tags):
            text = msgspec.json.encode({"tags": tags}).decode()
            await self._account_data.write_content(txn, user_id, room_id, "m.tag", text)


def _tags_of(content: str | None) -> dict[str, Any]:
    """Tolerates what a client wrote as account data of its own making."""
    decoded = msgspec.json.decode(content) if content is not None else {}
    tags = decoded.get("tags") if isinstance(decoded, dict) else None
    return tags if isinstance(tags, dict) else {}


def _check_scope(requester: Requester, user_id: str, room_id: str) -> None:
    if user_id != requester.user_id:
        raise Forbidden("Tags can be read and written by their owner alone.")
    parse_room_id(room_id)
