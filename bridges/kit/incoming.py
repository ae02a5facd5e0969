"""Remote → Matrix: what the network gave us becomes events, in order, each exactly once.

`add` stores before it returns, so a network may then tell its side that the message is safe. The transaction id of each
send is a hash of (chat, remote id): a repeat after a crash gets the first event's id from the homeserver.
"""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import msgspec

from bridges.kit.client import MatrixClient, NotReady, Refused
from bridges.kit.clock import Clock
from bridges.kit.ghosts import Ghosts
from bridges.kit.messages import RemoteDeletion, RemoteEdit, RemoteEvent, RemoteMessage, RemoteReaction
from bridges.kit.network import HearsDelivery, Network
from bridges.kit.portals import Portals
from bridges.kit.queues import ChatQueues
from bridges.kit.store import DONE, FAILED, PENDING, Store, StoreUnavailable, Transaction
from bridges.kit.text import LONGEST_TEXT, clean_text

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 20
SETUP_PAUSE = 15.0


class TooLong(ValueError):
    """The text is longer than an event may be; the network has to split or refuse it."""


def txn_id(*names: str) -> str:
    """A transaction id that is the same for the same thing, for ever."""
    return "hd" + hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()[:40]


class Incoming:
    """The stored queue from the network to the rooms."""

    def __init__(
        self, store: Store, client: MatrixClient, ghosts: Ghosts, portals: Portals, network: Network, clock: Clock
    ) -> None:
        self._store = store
        self._client = client
        self._ghosts = ghosts
        self._portals = portals
        self._network = network
        self._clock = clock
        self._attempts: dict[int, int] = {}
        self.queues = ChatQueues(self._handle_next, "incoming", clock)

    async def add(self, event: RemoteEvent, txn: Transaction | None = None) -> bool:
        """Store an event; False when this (chat, id) was there already. Wake the queue yourself when giving `txn`."""
        if isinstance(event, RemoteMessage | RemoteEdit) and len(event.text) > LONGEST_TEXT:
            raise TooLong(f"a message may have {LONGEST_TEXT} characters")
        if txn is not None:
            return await self._insert(event, txn)
        async with self._store.transaction() as own:
            added = await self._insert(event, own)
        self.queues.wake(event.chat)
        return added

    async def _insert(self, event: RemoteEvent, txn: Transaction) -> bool:
        body = msgspec.json.encode(_cleaned(event))
        changed = await txn.execute(
            "INSERT OR IGNORE INTO incoming (chat, remote_id, body, received_ms) VALUES (?, ?, ?, ?)",
            (event.chat, event.id, body, self._clock.now_ms()),
        )
        return changed == 1

    async def wake_all(self) -> None:
        """Go on where the last run ended."""
        async with self._store.transaction() as txn:
            chats = await txn.rows("SELECT DISTINCT chat FROM incoming WHERE state = ?", (PENDING,))
        for (chat,) in chats:
            self.queues.wake(chat)

    async def _handle_next(self, chat: str) -> bool:
        async with self._store.transaction() as txn:
            row = await txn.row(
                "SELECT position, body FROM incoming WHERE chat = ? AND state = ? ORDER BY position LIMIT 1",
                (chat, PENDING),
            )
        if row is None:
            return False
        position, body = row
        event = msgspec.json.decode(body, type=RemoteEvent)
        try:
            event_id = await self._deliver(event)
        except Refused as refused:
            await self._refuse(position, event, refused.message or refused.errcode)
        except NotReady as problem:
            log.error("messages wait, because the bridge cannot work: %s", problem)
            await self._clock.sleep(SETUP_PAUSE)
        except StoreUnavailable:
            raise
        except Exception as error:
            attempts = self._attempts[position] = self._attempts.get(position, 0) + 1
            log.exception("%r of chat %r failed, attempt %d", event.id, chat, attempts)
            if attempts >= MAX_ATTEMPTS:
                await self._refuse(position, event, f"internal error: {type(error).__name__}")
            else:
                await self._clock.sleep(min(60.0, 2.0**attempts))
        else:
            if event_id is not None and isinstance(self._network, HearsDelivery):
                await self._network.delivered(chat, event.id, event_id)
            await self._settle(position, DONE)
        return True

    async def _refuse(self, position: int, event: RemoteEvent, reason: str) -> None:
        log.warning("%r of chat %r was refused: %s", event.id, event.chat, reason)
        if isinstance(self._network, HearsDelivery):
            await self._network.refused(event.chat, event.id, reason)
        await self._settle(position, FAILED)

    async def _settle(self, position: int, state: int) -> None:
        self._attempts.pop(position, None)
        async with self._store.transaction() as txn:
            # The body is no longer needed, the row is: it keeps later repeats out.
            await txn.execute("UPDATE incoming SET state = ?, body = '' WHERE position = ?", (state, position))

    async def _deliver(self, event: RemoteEvent) -> str | None:
        """The event id, or None when there was nothing to do (the target of a change is unknown)."""
        target: str | None = None
        if not isinstance(event, RemoteMessage):
            target = await self._event_id(event.chat, event.target)
            if target is None:
                return None
        room_id = await self._portals.ensure_room(event.chat)
        ghost = await self._ghosts.ensure(event.sender)
        await self._ghosts.ensure_joined(room_id, ghost)
        repeat_key = txn_id(event.chat, event.id)
        if isinstance(event, RemoteDeletion):
            event_id = await self._client.redact(room_id, str(target), repeat_key, user=ghost)
        else:
            event_type = "m.reaction" if isinstance(event, RemoteReaction) else "m.room.message"
            content = await self._content(event, target)
            event_id = await self._client.send(room_id, event_type, content, repeat_key, user=ghost)
        async with self._store.transaction() as txn:
            await txn.execute(
                "INSERT OR IGNORE INTO messages (chat, remote_id, event_id, sender) VALUES (?, ?, ?, ?)",
                (event.chat, event.id, event_id, ghost),
            )
        return event_id

    async def _event_id(self, chat: str, remote_id: str) -> str | None:
        async with self._store.transaction() as txn:
            found = await txn.value("SELECT event_id FROM messages WHERE chat = ? AND remote_id = ?", (chat, remote_id))
        return None if found is None else str(found)

    async def _content(self, event: RemoteMessage | RemoteEdit | RemoteReaction, target: str | None) -> dict[str, Any]:
        if isinstance(event, RemoteReaction):
            return {"m.relates_to": {"rel_type": "m.annotation", "event_id": target, "key": event.key}}
        if isinstance(event, RemoteEdit):
            return {
                "msgtype": "m.text",
                "body": f"* {event.text}",
                "m.new_content": {"msgtype": "m.text", "body": event.text},
                "m.relates_to": {"rel_type": "m.replace", "event_id": target},
            }
        content: dict[str, Any] = {"msgtype": event.kind, "body": event.text}
        if event.media is not None:
            content["url"] = event.media.mxc
            content["filename"] = event.media.filename
            content["info"] = {"mimetype": event.media.mimetype, "size": event.media.size}
        if event.reply_to is not None:
            answered = await self._event_id(event.chat, event.reply_to)
            if answered is not None:
                content["m.relates_to"] = {"m.in_reply_to": {"event_id": answered}}
        return content


def _cleaned(event: RemoteEvent) -> RemoteEvent:
    if isinstance(event, RemoteMessage | RemoteEdit):
        return msgspec.structs.replace(event, text=clean_text(event.text))
    return event
