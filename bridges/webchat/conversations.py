"""The web chat's memory, in the kit's file: conversations, and the numbered events that their visitors see.

A conversation belongs to one browser by the hash of its token; nothing that a visitor types (name, e-mail) finds one
(W01). Every event has the next number of its conversation and a key that names its cause, so a repeat adds nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

from bridges.kit import Store, Transaction

SCHEMA = """
CREATE TABLE IF NOT EXISTS conversations (
    id TEXT PRIMARY KEY, token_hash TEXT NOT NULL UNIQUE, site TEXT NOT NULL, name TEXT NOT NULL, email TEXT NOT NULL,
    page_title TEXT NOT NULL, page_url TEXT NOT NULL, lang TEXT NOT NULL, created_ms INTEGER NOT NULL,
    active_ms INTEGER NOT NULL, seq INTEGER NOT NULL DEFAULT 0, acked INTEGER NOT NULL DEFAULT 0,
    visitor_read INTEGER NOT NULL DEFAULT 0, closed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS visitor_events (
    conversation TEXT NOT NULL, seq INTEGER NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (conversation, seq), UNIQUE (conversation, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS visitor_files (
    id TEXT PRIMARY KEY, conversation TEXT NOT NULL, event_id TEXT NOT NULL UNIQUE, mxc TEXT NOT NULL,
    filename TEXT NOT NULL);
"""
_COLUMNS = "id, site, name, email, page_title, page_url, lang, seq, acked, visitor_read, closed"


@dataclass(frozen=True, slots=True)
class Conversation:
    """One visitor's conversation on one site. `seq` is the number of its newest event."""

    id: str
    site: str
    name: str
    email: str
    page_title: str
    page_url: str
    lang: str
    seq: int = 0
    acked: int = 0
    visitor_read: int = 0
    closed: bool = False

    @property
    def short(self) -> str:
        """Four characters by which people tell visitors apart."""
        return self.id[:4]


def token_hash(token: str) -> str:
    """Tokens are random 256 bits, so a plain hash keeps them secret at rest (W29)."""
    return hashlib.sha256(token.encode()).hexdigest()


class Conversations:
    """Reads and writes, each inside a transaction of the kit's store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def open(self) -> None:
        await self.store.add_schema(SCHEMA)

    async def find_by_token(self, site: str, token: str) -> Conversation | None:
        """The site is part of the question: a token of one site opens nothing on another (W03)."""
        async with self.store.transaction() as txn:
            row = await txn.row(
                f"SELECT {_COLUMNS} FROM conversations WHERE token_hash = ? AND site = ?",  # noqa: S608 -- constant
                (token_hash(token), site),
            )
        return None if row is None else Conversation(*row)

    async def find(self, conversation: str) -> Conversation | None:
        async with self.store.transaction() as txn:
            row = await txn.row(
                f"SELECT {_COLUMNS} FROM conversations WHERE id = ?",  # noqa: S608 -- constant
                (conversation,),
            )
        return None if row is None else Conversation(*row)

    @staticmethod
    async def add(txn: Transaction, conversation: Conversation, token: str, now_ms: int) -> None:
        c = conversation
        await txn.execute(
            "INSERT INTO conversations (id, token_hash, site, name, email, page_title, page_url, lang, created_ms, "
            "active_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (c.id, token_hash(token), c.site, c.name, c.email, c.page_title, c.page_url, c.lang, now_ms, now_ms),
        )

    @staticmethod
    async def append(
        txn: Transaction, conversation: str, key: str, kind: str, body: dict[str, Any]
    ) -> tuple[int, bool]:
        """Add an event under the next number; (its number, whether it is new). A known `key` adds nothing."""
        known = await txn.value(
            "SELECT seq FROM visitor_events WHERE conversation = ? AND key = ?", (conversation, key)
        )
        if known is not None:
            return int(known), False
        await txn.execute("UPDATE conversations SET seq = seq + 1 WHERE id = ?", (conversation,))
        seq = int(await txn.value("SELECT seq FROM conversations WHERE id = ?", (conversation,)))
        await txn.execute(
            "INSERT INTO visitor_events (conversation, seq, key, kind, body) VALUES (?, ?, ?, ?, ?)",
            (conversation, seq, key, kind, msgspec.json.encode(body)),
        )
        return seq, True

    async def list_events(self, conversation: str, after: int, limit: int) -> list[dict[str, Any]]:
        """The events with numbers above `after`, as frames, in order."""
        async with self.store.transaction() as txn:
            rows = await txn.rows(
                "SELECT seq, kind, body FROM visitor_events WHERE conversation = ? AND seq > ? ORDER BY seq LIMIT ?",
                (conversation, after, limit),
            )
        return [{"type": "event", "seq": seq, "kind": kind, **msgspec.json.decode(body)} for seq, kind, body in rows]

    @staticmethod
    async def find_event(txn: Transaction, conversation: str, key: str) -> tuple[int, dict[str, Any]] | None:
        row = await txn.row(
            "SELECT seq, body FROM visitor_events WHERE conversation = ? AND key = ? AND kind = 'message'",
            (conversation, key),
        )
        return None if row is None else (int(row[0]), msgspec.json.decode(row[1]))

    @staticmethod
    async def set_body(txn: Transaction, conversation: str, seq: int, body: dict[str, Any]) -> None:
        """Change what a later reader of the history gets: an edited or deleted text must not come back."""
        await txn.execute(
            "UPDATE visitor_events SET body = ? WHERE conversation = ? AND seq = ?",
            (msgspec.json.encode(body), conversation, seq),
        )

    async def set_acked(self, conversation: str, seq: int) -> None:
        async with self.store.transaction() as txn:
            await txn.execute(
                "UPDATE conversations SET acked = max(acked, min(?, seq)) WHERE id = ?", (seq, conversation)
            )

    async def set_read(self, conversation: str, seq: int) -> str | None:
        """The visitor has read up to `seq`; the key of the newest staff message among that, when this was news."""
        async with self.store.transaction() as txn:
            news = await txn.execute(
                "UPDATE conversations SET visitor_read = min(?, seq) WHERE id = ? AND visitor_read < min(?, seq)",
                (seq, conversation, seq),
            )
            if not news:
                return None
            key = await txn.value(
                "SELECT key FROM visitor_events WHERE conversation = ? AND seq <= ? AND kind = 'message' "
                "AND key LIKE 'e:%' ORDER BY seq DESC LIMIT 1",
                (conversation, seq),
            )
        return None if key is None else str(key)

    async def set_labels(self, conversation: str, name: str, email: str) -> None:
        async with self.store.transaction() as txn:
            await txn.execute("UPDATE conversations SET name = ?, email = ? WHERE id = ?", (name, email, conversation))

    async def set_closed(self, conversation: str, closed: bool) -> None:
        async with self.store.transaction() as txn:
            await txn.execute("UPDATE conversations SET closed = ? WHERE id = ?", (int(closed), conversation))

    async def count_staff(self, conversation: str, bot: str, ghost: str) -> int:
        """How many people besides bot and visitor are in the conversation's room or invited to it."""
        async with self.store.transaction() as txn:
            return int(
                await txn.value(
                    "SELECT count(*) FROM members JOIN portals USING (room_id) WHERE chat = ? "
                    "AND membership IN ('join', 'invite') AND user_id NOT IN (?, ?)",
                    (conversation, bot, ghost),
                )
            )

    @staticmethod
    async def add_file(
        txn: Transaction, file_id: str, conversation: str, event_id: str, mxc: str, filename: str
    ) -> str:
        """Remember a file under a random id; the id that its event has, if this is a repeat."""
        await txn.execute(
            "INSERT OR IGNORE INTO visitor_files (id, conversation, event_id, mxc, filename) VALUES (?, ?, ?, ?, ?)",
            (file_id, conversation, event_id, mxc, filename),
        )
        return str(await txn.value("SELECT id FROM visitor_files WHERE event_id = ?", (event_id,)))

    async def find_file(self, file_id: str) -> tuple[str, str] | None:
        """(mxc, filename) behind a file id."""
        async with self.store.transaction() as txn:
            row = await txn.row("SELECT mxc, filename FROM visitor_files WHERE id = ?", (file_id,))
        return None if row is None else (str(row[0]), str(row[1]))

    async def remove_file_of(self, txn: Transaction, event_id: str) -> None:
        await txn.execute("DELETE FROM visitor_files WHERE event_id = ?", (event_id,))
