"""Typing and read receipts, both ways. They are true for a moment: never stored, tried once, lost without harm."""

from __future__ import annotations

import logging
from typing import Any

from bridges.kit.client import GaveUp, MatrixClient, Refused
from bridges.kit.ghosts import Ghosts
from bridges.kit.messages import MatrixUser, Person
from bridges.kit.network import Network, Receipts, Typing
from bridges.kit.portals import Portals
from bridges.kit.store import Store

log = logging.getLogger(__name__)


class Ephemeral:
    """Carries what is not kept."""

    def __init__(self, store: Store, client: MatrixClient, ghosts: Ghosts, portals: Portals, network: Network) -> None:
        self._store = store
        self._client = client
        self._ghosts = ghosts
        self._portals = portals
        self._network = network

    async def send_typing(self, chat: str, person: Person, typing: bool) -> None:
        room_id = await self._portals.find_room(chat)
        if room_id is not None:
            try:
                await self._client.set_typing(room_id, self._ghosts.user_id(person.id), typing)
            except (Refused, GaveUp) as error:
                log.debug("typing was not passed on: %s", error)

    async def send_receipt(self, chat: str, person: Person, remote_id: str) -> None:
        room_id = await self._portals.find_room(chat)
        async with self._store.transaction() as txn:
            event_id = await txn.value(
                "SELECT event_id FROM messages WHERE chat = ? AND remote_id = ?", (chat, remote_id)
            )
        if room_id is not None and event_id is not None:
            try:
                await self._client.send_receipt(room_id, str(event_id), user=self._ghosts.user_id(person.id))
            except (Refused, GaveUp) as error:
                log.debug("a receipt was not passed on: %s", error)

    async def receive(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            room_id, content = event.get("room_id"), event.get("content")
            if not isinstance(room_id, str) or not isinstance(content, dict):
                continue
            chat = await self._portals.find_chat(room_id)
            if chat is None:
                continue
            try:
                if event.get("type") == "m.typing":
                    await self._receive_typing(chat, room_id, content)
                elif event.get("type") == "m.receipt":
                    await self._receive_receipts(chat, room_id, content)
            except Exception:
                log.exception("the network failed at something ephemeral")

    async def _receive_typing(self, chat: str, room_id: str, content: dict[str, Any]) -> None:
        user_ids = content.get("user_ids")
        if isinstance(self._network, Typing) and isinstance(user_ids, list):
            users = [
                await self._user(room_id, user_id)
                for user_id in user_ids
                if isinstance(user_id, str) and not self._ghosts.is_ours(user_id)
            ]
            await self._network.set_typing(chat, users)

    async def _receive_receipts(self, chat: str, room_id: str, content: dict[str, Any]) -> None:
        if not isinstance(self._network, Receipts):
            return
        for event_id, kinds in content.items():
            readers = kinds.get("m.read") if isinstance(kinds, dict) else None
            async with self._store.transaction() as txn:
                remote_id = await txn.value(
                    "SELECT remote_id FROM messages WHERE chat = ? AND event_id = ?", (chat, event_id)
                )
            if remote_id is None or not isinstance(readers, dict):
                continue
            for user_id in readers:
                if not self._ghosts.is_ours(user_id):
                    await self._network.mark_read(chat, str(remote_id), await self._user(room_id, user_id))

    async def _user(self, room_id: str, user_id: str) -> MatrixUser:
        async with self._store.transaction() as txn:
            name = await txn.value("SELECT name FROM members WHERE room_id = ? AND user_id = ?", (room_id, user_id))
        return MatrixUser(user_id, str(name or ""))
