"""Filters that clients store for /sync. Spec: Client-Server API, "Filtering"."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from homeserver.protocol.errors import Forbidden, NotFound, TooLarge
from homeserver.protocol.filters import Filter, parse_filter
from homeserver.storage.database import Database
from homeserver.storage.filters import FilterStore
from homeserver.users.requester import Requester

MAXIMUM_BYTES = 64 * 1024
MAXIMUM_FILTERS = 500
"""Different ones of one user (rows D08 and D15); the same filter again has the same id."""
_REMEMBERED = 1000


class Filters:
    """Everything is the requester's own. A stored filter never changes, so that it may be remembered."""

    def __init__(self, db: Database, store: FilterStore) -> None:
        self._db = db
        self._store = store
        self._parsed: dict[tuple[str, int], Filter] = {}

    async def add_filter(self, requester: Requester, user_id: str, content: dict[str, Any]) -> str:
        """The id, the same for the same filter. Raises BadJson, InvalidParam, Forbidden, TooLarge."""
        _check_own(requester, user_id)
        parse_filter(content)
        text = msgspec.json.encode(content, order="deterministic").decode()
        if len(text.encode()) > MAXIMUM_BYTES:
            raise TooLarge(f"A filter has at most {MAXIMUM_BYTES} bytes.")
        digest = hashlib.sha256(text.encode()).hexdigest()
        filter_id = await self._db.write(
            lambda txn: self._store.add_filter(txn, user_id, digest, text, MAXIMUM_FILTERS)
        )
        if filter_id is None:
            raise TooLarge(f"A user has at most {MAXIMUM_FILTERS} filters; use one of those again.")
        return str(filter_id)

    async def get_filter(self, requester: Requester, user_id: str, filter_id: str) -> dict[str, Any]:
        """As it was stored. Raises Forbidden, NotFound."""
        _check_own(requester, user_id)
        content: dict[str, Any] = msgspec.json.decode(await self._content(user_id, filter_id))
        return content

    async def parsed_filter(self, user_id: str, filter_id: str) -> Filter:
        """For /sync. Raises NotFound."""
        number = _number(filter_id)
        known = self._parsed.get((user_id, number))
        if known is None:
            known = parse_filter(msgspec.json.decode(await self._content(user_id, filter_id)))
            if len(self._parsed) >= _REMEMBERED:
                self._parsed.pop(next(iter(self._parsed)))
            self._parsed[(user_id, number)] = known
        return known

    async def _content(self, user_id: str, filter_id: str) -> str:
        content = await self._store.find_filter(user_id, _number(filter_id))
        if content is None:
            raise NotFound("There is no such filter.")
        return content


def _number(filter_id: str) -> int:
    if not (filter_id.isascii() and filter_id.isdecimal() and len(filter_id) <= 9):
        raise NotFound("There is no such filter.")
    return int(filter_id)


def _check_own(requester: Requester, user_id: str) -> None:
    if user_id != requester.user_id:
        raise Forbidden("Filters can be read and written by their owner alone.")
