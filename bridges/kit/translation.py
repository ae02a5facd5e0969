"""One Matrix event, read carefully and given to the method of the network that it is meant for.

Everything in an event was written by somebody: each field is taken only in the shape that it must have. Targets of
replies, edits, reactions and redactions are looked up by (chat, event), so nothing reaches into another chat (W26).
"""

from __future__ import annotations

from typing import Any

from bridges.kit.messages import MatrixMedia, MatrixMessage, MatrixUser
from bridges.kit.network import Edits, Media, Members, Network, Reactions, Redactions, Undeliverable
from bridges.kit.store import Store

MEDIA_KINDS = frozenset({"m.image", "m.file", "m.audio", "m.video"})


class Translation:
    """Events to calls."""

    def __init__(self, store: Store, network: Network) -> None:
        self._store = store
        self._network = network

    async def deliver(self, chat: str, event: dict[str, Any]) -> str | None:
        """Deliver; the remote id of what it became, or None when it became nothing of its own."""
        kind = event["type"]
        if kind == "m.room.message":
            return await self._message(chat, event)
        if kind == "m.reaction":
            return await self._reaction(chat, event)
        if kind == "m.room.redaction":
            await self._redaction(chat, event)
        elif kind == "m.room.member":
            await self._member(chat, event)
        elif kind == "m.room.encrypted":
            raise Undeliverable("this room is encrypted, and the bridge cannot read encrypted messages.")
        return None

    async def _message(self, chat: str, event: dict[str, Any]) -> str | None:
        content = event["content"]
        relation = _mapping(content.get("m.relates_to"))
        if relation.get("rel_type") == "m.replace":
            await self._edit(chat, event, relation)
            return None
        message = await self._read(chat, event, content, relation)
        if message is None:
            return None
        if message.kind not in MEDIA_KINDS:
            return await self._network.send(chat, message)
        if message.media is None:
            raise Undeliverable("encrypted or incomplete attachments cannot be passed on.")
        if not isinstance(self._network, Media):
            raise Undeliverable("the other network takes no files.")
        return await self._network.send_media(chat, message)

    async def _edit(self, chat: str, event: dict[str, Any], relation: dict[str, Any]) -> None:
        original = await self._target(chat, relation.get("event_id"))
        # Only the author may replace (Client-Server API, "Validity of replacement events").
        if original is None or original[1] != event["sender"] or not isinstance(self._network, Edits):
            return
        content = _mapping(event["content"].get("m.new_content"))
        message = await self._read(chat, event, content, {})
        if message is not None:
            await self._network.edit(chat, original[0], message)

    async def _reaction(self, chat: str, event: dict[str, Any]) -> str | None:
        relation = _mapping(event["content"].get("m.relates_to"))
        key = relation.get("key")
        target = await self._target(chat, relation.get("event_id"))
        if target is None or not isinstance(key, str) or not isinstance(self._network, Reactions):
            return None
        sender = await self._user(event)
        return await self._network.react(chat, target[0], key, sender, event["event_id"])

    async def _redaction(self, chat: str, event: dict[str, Any]) -> None:
        # Room version 11 moved `redacts` into the content.
        redacted = event.get("redacts") or event["content"].get("redacts")
        target = await self._target(chat, redacted)
        if target is not None and isinstance(self._network, Redactions):
            await self._network.delete(chat, target[0], event["event_id"])

    async def _member(self, chat: str, event: dict[str, Any]) -> None:
        membership = event["content"].get("membership")
        if isinstance(self._network, Members) and isinstance(membership, str):
            name = event["content"].get("displayname")
            user = MatrixUser(event["state_key"], name if isinstance(name, str) else "")
            await self._network.member_changed(chat, user, membership)

    async def _read(
        self, chat: str, event: dict[str, Any], content: dict[str, Any], relation: dict[str, Any]
    ) -> MatrixMessage | None:
        kind, text = content.get("msgtype"), content.get("body")
        if not isinstance(kind, str) or not isinstance(text, str):
            return None
        html = content.get("formatted_body")
        answered = _mapping(relation.get("m.in_reply_to")).get("event_id")
        target = await self._target(chat, answered)
        timestamp = event.get("origin_server_ts")
        return MatrixMessage(
            event_id=event["event_id"],
            sender=await self._user(event),
            kind=kind,
            text=without_reply_fallback(text) if answered else text,
            html=html if isinstance(html, str) and content.get("format") == "org.matrix.custom.html" else None,
            timestamp_ms=timestamp if isinstance(timestamp, int) else 0,
            reply_to=None if target is None else target[0],
            media=_media(content),
        )

    async def _user(self, event: dict[str, Any]) -> MatrixUser:
        async with self._store.transaction() as txn:
            name = await txn.value(
                "SELECT name FROM members WHERE room_id = ? AND user_id = ?", (event["room_id"], event["sender"])
            )
        return MatrixUser(event["sender"], str(name or ""))

    async def _target(self, chat: str, event_id: object) -> tuple[str, str] | None:
        """(remote id, author) of an event of this chat."""
        if not isinstance(event_id, str):
            return None
        async with self._store.transaction() as txn:
            row = await txn.row(
                "SELECT remote_id, sender FROM messages WHERE chat = ? AND event_id = ?", (chat, event_id)
            )
        return None if row is None else (str(row[0]), str(row[1]))


def without_reply_fallback(text: str) -> str:
    """Drop the quoted lines that older clients put before a reply (they can be forged, W20)."""
    lines = text.split("\n")
    count = 0
    while count < len(lines) and lines[count].startswith(">"):
        count += 1
    if 0 < count < len(lines) and lines[count] == "":
        return "\n".join(lines[count + 1 :])
    return text


def _media(content: dict[str, Any]) -> MatrixMedia | None:
    url, info = content.get("url"), _mapping(content.get("info"))
    if not isinstance(url, str) or not url.startswith("mxc://"):
        return None
    name = content.get("filename", content.get("body"))
    mimetype, size = info.get("mimetype"), info.get("size")
    return MatrixMedia(
        mxc=url,
        filename=name if isinstance(name, str) else "file",
        mimetype=mimetype if isinstance(mimetype, str) else "application/octet-stream",
        size=size if isinstance(size, int) and size >= 0 else None,
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
