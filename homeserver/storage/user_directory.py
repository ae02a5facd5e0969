"""Who can be found by name: local users and remote ones that were seen in rooms."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from homeserver.storage.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """One person as search shows them: the global profile, never a name used in one room (row G07)."""

    user_id: str
    display_name: str | None
    avatar_url: str | None


class UserDirectoryStore:
    """The table `user_directory`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def set_entry(self, txn: Transaction, user_id: str, display_name: str | None, avatar_url: str | None) -> None:
        await txn.execute(
            "INSERT INTO user_directory (user_id, display_name, avatar_url, search_id, search_name) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (user_id) DO UPDATE SET display_name = excluded.display_name, "
            "avatar_url = excluded.avatar_url, search_name = excluded.search_name",
            (user_id, display_name, avatar_url, fold(user_id), fold(display_name or "")),
        )

    async def update_entry(
        self, txn: Transaction, user_id: str, display_name: str | None, avatar_url: str | None
    ) -> None:
        """As `set_entry`, for those alone who are listed (guests are not)."""
        await txn.execute(
            "UPDATE user_directory SET display_name = ?, avatar_url = ?, search_name = ? WHERE user_id = ?",
            (display_name, avatar_url, fold(display_name or ""), user_id),
        )

    async def remove_entry(self, txn: Transaction, user_id: str) -> None:
        await txn.execute("DELETE FROM user_directory WHERE user_id = ?", (user_id,))

    async def search(self, term: str, *, limit: int, offset: int = 0) -> list[DirectoryEntry]:
        """Everybody whose name or id contains the words of `term`; whole matches first, then beginnings, then the rest.
        Who may see them is not asked here."""
        folded = fold(term)
        at_folded = folded if folded.startswith("@") else f"@{folded}"
        words = folded.split()[:5]
        if not words:
            return []
        conditions = " AND ".join("(search_name LIKE ? ESCAPE '!' OR search_id LIKE ? ESCAPE '!')" for _ in words)
        params: list[str | int] = []
        for word in words:
            params += [f"%{_escaped(word)}%"] * 2
        rows = await self._db.fetch_all(
            "SELECT user_id, display_name, avatar_url FROM user_directory "
            f"WHERE {conditions} ORDER BY CASE WHEN search_name = ? OR search_id = ? THEN 0 "
            "WHEN search_name LIKE ? ESCAPE '!' OR search_id LIKE ? ESCAPE '!' THEN 1 ELSE 2 END, "
            "CASE WHEN display_name IS NULL AND avatar_url IS NULL THEN 1 ELSE 0 END, user_id LIMIT ? OFFSET ?",
            (
                *params,
                folded,
                at_folded,
                f"{_escaped(folded)}%",
                f"{_escaped(at_folded)}%",
                limit,
                offset,
            ),
        )
        return [DirectoryEntry(*row) for row in rows]


def fold(text: str) -> str:
    """Text for comparison: without case, full-width letters as plain ones, one space between words."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _escaped(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
