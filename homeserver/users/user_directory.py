"""Searching for people. Spec: Client-Server API, "User Directory".

Found is who shares a room with the one who asks or is in a public room, or, where the operator wishes so, everybody
whom this server knows; by the global profile alone (row G07).
"""

from __future__ import annotations

from homeserver.storage.database import Transaction
from homeserver.storage.user_directory import DirectoryEntry, UserDirectoryStore
from homeserver.users.hooks import UserHooks

MAXIMUM_RESULTS = 50
MAXIMUM_TERM_LENGTH = 255
_PAGE = 200
_PAGES = 10
"""How far a search looks for people who may be seen (row D18)."""


class UserDirectory:
    """`finds_everybody`: all local users and known remote ones are found, whoever asks."""

    def __init__(self, store: UserDirectoryStore, hooks: UserHooks, *, finds_everybody: bool) -> None:
        self._store = store
        self._hooks = hooks
        self._finds_everybody = finds_everybody

    async def search(self, user_id: str, term: str, limit: int) -> tuple[list[DirectoryEntry], bool]:
        """(at most `limit` people, whether there are more). Never the one who asks."""
        found: list[DirectoryEntry] = []
        term = term[:MAXIMUM_TERM_LENGTH]
        for page in range(_PAGES):
            entries = await self._store.search(term, limit=_PAGE, offset=page * _PAGE)
            visible = await self._visible(user_id, [entry.user_id for entry in entries])
            found += [entry for entry in entries if entry.user_id in visible]
            if len(found) > limit or len(entries) < _PAGE:
                break
        return found[:limit], len(found) > limit

    async def set_remote_entry(
        self, txn: Transaction, user_id: str, display_name: str | None, avatar_url: str | None
    ) -> None:
        """The global profile of a user of another server, as that server gave it."""
        await self._store.set_entry(txn, user_id, display_name, avatar_url)

    async def _visible(self, user_id: str, others: list[str]) -> set[str]:
        candidates = set(others) - {user_id}
        if self._finds_everybody or not candidates:
            return candidates
        known = await self._hooks.acquaintances.share_room_with(user_id, candidates)
        rest = candidates - known
        return known | (await self._hooks.acquaintances.in_public_rooms(rest) if rest else set())
