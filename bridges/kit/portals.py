"""Portals: a chat of the other network and the Matrix room that shows it.

The room gets an alias made from the chat's id, in the bridge's exclusive namespace: when a crash comes between creating
the room and remembering it, the next attempt finds that room instead of making a second one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridges.kit.client import MatrixClient
from bridges.kit.clock import Clock
from bridges.kit.ghosts import escape
from bridges.kit.network import ChatDescription, DescribesChats, Network
from bridges.kit.settings import BridgeSettings
from bridges.kit.store import Store, Transaction

STAFF_POWER = 50


class Portals:
    """Finds and makes the rooms of chats."""

    def __init__(
        self, settings: BridgeSettings, store: Store, client: MatrixClient, clock: Clock, network: Network
    ) -> None:
        self._settings = settings
        self._store = store
        self._client = client
        self._clock = clock
        self._network = network
        self.adopted: Callable[[str], None] = lambda room_id: None

    async def find_room(self, chat: str) -> str | None:
        async with self._store.transaction() as txn:
            found = await txn.value("SELECT room_id FROM portals WHERE chat = ?", (chat,))
        return None if found is None else str(found)

    async def find_chat(self, room_id: str) -> str | None:
        async with self._store.transaction() as txn:
            return await self.find_chat_in(txn, room_id)

    @staticmethod
    async def find_chat_in(txn: Transaction, room_id: str) -> str | None:
        found = await txn.value("SELECT chat FROM portals WHERE room_id = ?", (room_id,))
        return None if found is None else str(found)

    async def ensure_room(self, chat: str) -> str:
        """The room of a chat, created when there is none yet."""
        found = await self.find_room(chat)
        if found is not None:
            return found
        description = ChatDescription(name=chat)
        if isinstance(self._network, DescribesChats):
            description = await self._network.describe_chat(chat)
        alias = f"#{self._settings.prefix}{escape(chat)}:{self._settings.server_name}"
        room_id = await self._client.create_room(self._room(description), alias)
        await self._empower(room_id, description.invite)
        await self.adopt(chat, room_id)
        return room_id

    async def adopt(self, chat: str, room_id: str) -> None:
        """From now on `room_id` shows `chat`. Nothing changes when either has a partner already."""
        async with self._store.transaction() as txn:
            await txn.execute(
                "INSERT OR IGNORE INTO portals (chat, room_id, created_ms) VALUES (?, ?, ?)",
                (chat, room_id, self._clock.now_ms()),
            )
        self.adopted(room_id)

    @staticmethod
    def _room(description: ChatDescription) -> dict[str, Any]:
        body: dict[str, Any] = {
            "preset": "private_chat",
            "visibility": "private",
            "name": description.name,
            "invite": list(description.invite),
            "initial_state": [
                {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "shared"}},
                {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "forbidden"}},
            ],
        }
        if description.topic:
            body["topic"] = description.topic
        return body

    async def _empower(self, room_id: str, users: tuple[str, ...]) -> None:
        """Staff may name the room, remove people and redact. Done after creation because the list of users in a
        creation request would have to name the bot before room version 12 and must not from 12 on."""
        if not users:
            return
        levels = await self._client.get_state(room_id, "m.room.power_levels")
        wanted = {**dict.fromkeys(users, STAFF_POWER), **levels.get("users", {})}
        if wanted != levels.get("users"):
            await self._client.set_state(room_id, "m.room.power_levels", {**levels, "users": wanted})
