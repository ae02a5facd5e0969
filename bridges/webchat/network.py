"""The visitors of web sites as a remote network of the kit: what staff do becomes events of a conversation."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any

from bridges.kit import Bridge, ChatDescription, MatrixMessage, MatrixUser, Person, Transaction
from bridges.kit.text import clean_name
from bridges.webchat.conversations import Conversation, Conversations
from bridges.webchat.doorbell import Doorbell
from bridges.webchat.projection import is_internal, staff_message, staff_name
from bridges.webchat.settings import Site

log = logging.getLogger(__name__)


def person_of(conversation: Conversation) -> Person:
    """The visitor as his ghost. The name is a label; the kit's name suffix keeps it from looking like staff (W20)."""
    return Person(conversation.id, conversation.name or f"Visitor {conversation.short}")


class WebchatNetwork:
    """Implements Network, DescribesChats, Media, Edits, Redactions, Typing, Receipts, Members and HearsDelivery.

    A message that the visitor wrote has the remote id `c:<client_id>`, one from the room `e:<event_id>`: the same keys
    that their events have.
    """

    bridge: Bridge
    conversations: Conversations

    def __init__(self, sites: Sequence[Site], doorbell: Doorbell) -> None:
        self.sites = {site.key: site for site in sites}
        self._doorbell = doorbell

    async def start(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.conversations = Conversations(bridge.store)
        await self.conversations.open()

    async def stop(self) -> None:
        """The listeners belong to WebchatBridge; there is nothing else to disconnect."""

    async def describe_chat(self, chat: str) -> ChatDescription:
        conversation = await self._get(chat)
        site = self.sites.get(conversation.site)
        title = clean_name(conversation.page_title, 60)
        notes = [f"Website visitor on {conversation.page_url or conversation.site}"]
        if conversation.email:
            notes.append(f"e-mail (not verified): {conversation.email}")
        return ChatDescription(
            name=f"Visitor {conversation.short}" + (f" · {title}" if title else ""),
            topic=" · ".join(notes),
            invite=site.staff if site else (),
        )

    # From the room to the visitor.

    async def send(self, chat: str, message: MatrixMessage) -> str | None:
        if is_internal(message):
            return None
        body = staff_message(message, await self._name(chat, message.sender))
        async with self.conversations.store.transaction() as txn:
            key = await self._append_message(txn, chat, message, body)
        self._doorbell.ring(chat)
        return key

    async def send_media(self, chat: str, message: MatrixMessage) -> str | None:
        if is_internal(message) or message.media is None:
            return None
        filename = clean_name(message.media.filename, 120) or "file"
        body = staff_message(message, await self._name(chat, message.sender))
        caption = "" if body["text"] == message.media.filename else body["text"]
        async with self.conversations.store.transaction() as txn:
            file_id = await self.conversations.add_file(
                txn, secrets.token_urlsafe(16), chat, message.event_id, message.media.mxc, filename
            )
            file = {"id": file_id, "name": filename, "image": message.kind == "m.image"}
            key = await self._append_message(txn, chat, message, {**body, "text": caption, "file": file})
        self._doorbell.ring(chat)
        return key

    async def _append_message(self, txn: Transaction, chat: str, message: MatrixMessage, body: dict[str, Any]) -> str:
        key = f"e:{message.event_id}"
        await self.conversations.append(txn, chat, key, "message", body)
        return key

    async def edit(self, chat: str, remote_id: str, message: MatrixMessage) -> None:
        body = staff_message(message, "")
        text = "" if is_internal(message) else body["text"]
        await self._change(chat, remote_id, f"e:{message.event_id}", "edit", {"text": text})

    async def delete(self, chat: str, remote_id: str, event_id: str) -> None:
        await self._change(chat, remote_id, f"e:{event_id}", "delete", {})

    async def _change(self, chat: str, target: str, key: str, kind: str, change: dict[str, Any]) -> None:
        async with self.conversations.store.transaction() as txn:
            found = await self.conversations.find_event(txn, chat, target)
            if found is None:
                return
            seq, body = found
            if kind == "delete":
                await self.conversations.remove_file_of(txn, target.removeprefix("e:"))
                kept: dict[str, Any] = {
                    name: body[name] for name in ("from", "name", "ts", "client_id") if name in body
                }
                await self.conversations.set_body(txn, chat, seq, {**kept, "text": "", "deleted": True})
            else:
                await self.conversations.set_body(txn, chat, seq, {**body, **change, "edited": True})
            await self.conversations.append(txn, chat, key, kind, {"target": seq, **change})
        self._doorbell.ring(chat)

    async def set_typing(self, chat: str, users: Sequence[MatrixUser]) -> None:
        frame: dict[str, Any] = {"type": "typing", "typing": bool(users)}
        if users:
            frame["name"] = await self._name(chat, users[0])
        self._doorbell.tell(chat, frame)

    async def mark_read(self, chat: str, remote_id: str, user: MatrixUser) -> None:
        async with self.conversations.store.transaction() as txn:
            found = await self.conversations.find_event(txn, chat, remote_id)
            if found is None:
                return
            await self.conversations.append(txn, chat, f"r:{found[0]}", "read", {"upto": found[0]})
        self._doorbell.ring(chat)

    async def member_changed(self, chat: str, user: MatrixUser, membership: str) -> None:
        if membership in ("leave", "ban"):
            ghost = self.bridge.ghosts.user_id(chat)
            if not await self.conversations.count_staff(chat, self.bridge.settings.bot_user_id, ghost):
                await self.conversations.set_closed(chat, True)

    # What became of the visitor's messages.

    async def delivered(self, chat: str, remote_id: str, event_id: str) -> None:
        async with self.conversations.store.transaction() as txn:
            found = await self.conversations.find_event(txn, chat, remote_id)
            if found is not None:
                await self.conversations.append(txn, chat, f"d:{found[0]}", "delivered", {"target": found[0]})
        self._doorbell.ring(chat)
        conversation = await self._get(chat)
        if conversation.closed:
            await self._reopen(conversation, event_id)

    async def refused(self, chat: str, remote_id: str, reason: str) -> None:
        """The reason stays inside (W14); the visitor learns that it failed."""
        async with self.conversations.store.transaction() as txn:
            found = await self.conversations.find_event(txn, chat, remote_id)
            if found is not None:
                await self.conversations.append(txn, chat, f"f:{found[0]}", "failed", {"target": found[0]})
        self._doorbell.ring(chat)

    async def _reopen(self, conversation: Conversation, event_id: str) -> None:
        """Everybody had left and the visitor writes again: the staff of the site are asked back."""
        site = self.sites.get(conversation.site)
        for user_id in site.staff if site else ():
            await self.bridge.invite(conversation.id, user_id)
        await self.bridge.notice(conversation.id, "The visitor came back.", f"reopened {event_id}")
        await self.conversations.set_closed(conversation.id, False)

    async def _get(self, chat: str) -> Conversation:
        found = await self.conversations.find(chat)
        if found is None:
            raise LookupError(f"there is no conversation {chat!r}")
        return found

    async def _name(self, chat: str, user: MatrixUser) -> str:
        conversation = await self.conversations.find(chat)
        site = self.sites.get(conversation.site) if conversation else None
        return staff_name(user, clean_name(site.title, 60) if site and site.title else "Support")
