"""Ghosts: the Matrix users that stand for people of the other network.

A ghost's user id is made from the remote id by `escape`, which is injective: two remote people never share a ghost, and
no remote person can choose an id that reads like somebody else's (W20). Names are labels with the network's suffix.
"""

from __future__ import annotations

import hashlib
import re

from bridges.kit.client import V3, MatrixClient, Refused, part
from bridges.kit.messages import Person
from bridges.kit.settings import BridgeSettings
from bridges.kit.store import Store
from bridges.kit.text import clean_name

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789.-")
LONGEST_ESCAPED = 100


def escape(remote_id: str) -> str:
    """Any text as part of a localpart: bytes outside a-z0-9.- become =xx; what gets too long becomes =h and a hash.

    'h' is no hexadecimal digit, so a hash is never mistaken for an escape.
    """
    data = remote_id.encode("utf-8", "surrogatepass")
    escaped = "".join(chr(byte) if byte in _PLAIN else f"={byte:02x}" for byte in data)
    if len(escaped) <= LONGEST_ESCAPED:
        return escaped
    return "=h" + hashlib.sha256(data).hexdigest()


class Ghosts:
    """Registers ghosts, names them and brings them into rooms, each once."""

    def __init__(self, settings: BridgeSettings, store: Store, client: MatrixClient) -> None:
        self._settings = settings
        self._store = store
        self._client = client
        self._user = re.compile(f"@{re.escape(settings.prefix)}.*:{re.escape(settings.server_name)}", re.DOTALL)

    def user_id(self, remote_id: str) -> str:
        return f"@{self._settings.prefix}{escape(remote_id)}:{self._settings.server_name}"

    def is_ours(self, user_id: str) -> bool:
        """Whether this is the bot or one of our ghosts: what they send never goes back to the network (W27)."""
        return user_id == self._settings.bot_user_id or self._user.fullmatch(user_id) is not None

    async def find_remote_id(self, user_id: str) -> str | None:
        async with self._store.transaction() as txn:
            found = await txn.value("SELECT remote_id FROM ghosts WHERE user_id = ?", (user_id,))
        return None if found is None else str(found)

    async def ensure(self, person: Person) -> str:
        """The user id of the person's ghost, registered and carrying his present name."""
        user_id = self.user_id(person.id)
        async with self._store.transaction() as txn:
            known = await txn.value("SELECT name FROM ghosts WHERE remote_id = ?", (person.id,))
        name = (clean_name(person.name) or str(known or "") or "Guest") if person.name or not known else str(known)
        if known is None:
            await self._client.register(user_id[1:].split(":", 1)[0])
        if known != name:
            await self._client.set_display_name(user_id, name + self._settings.name_suffix)
            async with self._store.transaction() as txn:
                await txn.execute(
                    "INSERT INTO ghosts (remote_id, user_id, name) VALUES (?, ?, ?) "
                    "ON CONFLICT (remote_id) DO UPDATE SET name = excluded.name",
                    (person.id, user_id, name),
                )
        return user_id

    async def ensure_joined(self, room_id: str, user_id: str) -> None:
        """Bring a ghost into a room. Raises Refused when it was banned there."""
        async with self._store.transaction() as txn:
            membership = await txn.value(
                "SELECT membership FROM members WHERE room_id = ? AND user_id = ?", (room_id, user_id)
            )
        if membership == "join":
            return
        try:
            await self._client.join(room_id, user=user_id)
        except Refused:
            await self._client.invite(room_id, user_id)
            await self._client.join(room_id, user=user_id)
        async with self._store.transaction() as txn:
            await txn.execute(
                "INSERT INTO members (room_id, user_id, membership, name) VALUES (?, ?, 'join', '') "
                "ON CONFLICT (room_id, user_id) DO UPDATE SET membership = 'join'",
                (room_id, user_id),
            )

    async def register_bot(self) -> None:
        """The bot exists from its first registration on; its name is set when there is one."""
        await self._client.register(self._settings.bot)
        if self._settings.bot_name:
            path = f"{V3}/profile/{part(self._settings.bot_user_id)}/displayname"
            await self._client.call("PUT", path, {"displayname": self._settings.bot_name})
