"""Matrix → remote: what the homeserver pushed is stored with its transaction id, then given to the network in order.

A transaction is answered only after it is on disk, and one that comes again is recognised (W33). Each event is given to
the network until it takes it or declares it undeliverable; the event id tells the network a repeat from a new message.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from bridges.kit.client import GaveUp, MatrixClient, Refused
from bridges.kit.clock import Clock
from bridges.kit.ghosts import Ghosts
from bridges.kit.incoming import MAX_ATTEMPTS, txn_id
from bridges.kit.messages import MatrixUser
from bridges.kit.network import FindsSent, Network, OpensChats, Undeliverable
from bridges.kit.portals import Portals
from bridges.kit.queues import ChatQueues
from bridges.kit.store import DONE, FAILED, PENDING, Store, StoreUnavailable, Transaction
from bridges.kit.translation import Translation

log = logging.getLogger(__name__)

INTERESTING = frozenset({"m.room.message", "m.reaction", "m.room.redaction", "m.room.encrypted", "m.room.member"})


class Outgoing:
    """The stored queue from the rooms to the network."""

    def __init__(
        self, store: Store, client: MatrixClient, ghosts: Ghosts, portals: Portals, network: Network, clock: Clock
    ) -> None:
        self._store = store
        self._client = client
        self._ghosts = ghosts
        self._portals = portals
        self._network = network
        self._clock = clock
        self._translation = Translation(store, network)
        self._attempts: dict[int, int] = {}
        self.queues = ChatQueues(self._handle_next, "outgoing", clock)

    async def take(self, transaction_id: str, events: list[dict[str, Any]]) -> bool:
        """Store one transaction of the homeserver, all or nothing; False when it was stored before."""
        rooms: dict[str, None] = {}
        async with self._store.transaction() as txn:
            new = await txn.execute(
                "INSERT OR IGNORE INTO transactions (txn_id, received_ms) VALUES (?, ?)",
                (transaction_id, self._clock.now_ms()),
            )
            if not new:
                return False
            for event in events:
                if await self._take_event(event, txn):
                    rooms[event["room_id"]] = None
        for room_id in rooms:
            self.queues.wake(room_id)
        return True

    async def _take_event(self, event: dict[str, Any], txn: Transaction) -> bool:
        names = ("event_id", "room_id", "type", "sender")
        content = event.get("content")
        if not all(isinstance(event.get(name), str) for name in names) or not isinstance(content, dict):
            log.warning("an event of an unknown shape was ignored")
            return False
        if event["type"] not in INTERESTING:
            return False
        about_us = False
        if event["type"] == "m.room.member":
            user_id = event.get("state_key")
            if not isinstance(user_id, str):
                return False
            await self._note_member(event["room_id"], user_id, content, txn)
            about_us = self._ghosts.is_ours(user_id)
            if about_us and content.get("membership") != "invite":
                return False
        if self._ghosts.is_ours(event["sender"]) and not (event["type"] == "m.room.member" and not about_us):
            return False  # our own words never go back to where they came from (W27)
        added = await txn.execute(
            "INSERT OR IGNORE INTO outgoing (room_id, event_id, body, received_ms) VALUES (?, ?, ?, ?)",
            (event["room_id"], event["event_id"], msgspec.json.encode(event), self._clock.now_ms()),
        )
        return added == 1

    @staticmethod
    async def _note_member(room_id: str, user_id: str, content: Mapping[str, Any], txn: Transaction) -> None:
        name = content.get("displayname")
        await txn.execute(
            "INSERT INTO members (room_id, user_id, membership, name) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (room_id, user_id) DO UPDATE SET membership = excluded.membership, name = excluded.name",
            (room_id, user_id, str(content.get("membership")), name if isinstance(name, str) else ""),
        )

    async def wake_all(self) -> None:
        """Go on where the last run ended."""
        async with self._store.transaction() as txn:
            rooms = await txn.rows("SELECT DISTINCT room_id FROM outgoing WHERE state = ?", (PENDING,))
        for (room_id,) in rooms:
            self.queues.wake(room_id)

    async def _handle_next(self, room_id: str) -> bool:
        async with self._store.transaction() as txn:
            chat = await self._portals.find_chat_in(txn, room_id)
            rows = await txn.rows(
                "SELECT position, body, attempted FROM outgoing WHERE room_id = ? AND state = ? "
                "ORDER BY position LIMIT ?",
                (room_id, PENDING, 1 if chat is not None else 1000),
            )
        if chat is None:
            # Perhaps the room is being created at this moment: what is said there waits. Only invitations can be met.
            for position, body, _ in rows:
                event = msgspec.json.decode(body)
                if event["type"] == "m.room.member" and self._ghosts.is_ours(event["state_key"]):
                    await self._answer_invitation(event)
                    await self._settle(position, DONE)
                    return True
            return False
        if not rows:
            return False
        position, body, attempted = rows[0]
        await self._attempt(chat, position, msgspec.json.decode(body), bool(attempted))
        return True

    async def _attempt(self, chat: str, position: int, event: dict[str, Any], attempted: bool) -> None:
        try:
            remote_id = None
            if attempted and isinstance(self._network, FindsSent):
                remote_id = await self._network.find_sent(chat, event["event_id"])
            if remote_id is None:
                async with self._store.transaction() as txn:
                    await txn.execute("UPDATE outgoing SET attempted = 1 WHERE position = ?", (position,))
                remote_id = await self._translation.deliver(chat, event)
        except Undeliverable as error:
            await self._settle(position, FAILED)
            await self._tell_failure(event, str(error))
        except StoreUnavailable:
            raise
        except Exception as error:
            attempts = self._attempts[position] = self._attempts.get(position, 0) + 1
            log.exception("event %s could not be delivered, attempt %d", event["event_id"], attempts)
            if attempts >= MAX_ATTEMPTS:
                await self._settle(position, FAILED)
                await self._tell_failure(event, f"the other network does not take it ({type(error).__name__})")
            else:
                await self._clock.sleep(min(60.0, 2.0**attempts))
        else:
            await self._settle(position, DONE, chat, remote_id, event)
            if remote_id is not None:
                await self._confirm(event)

    async def _settle(
        self,
        position: int,
        state: int,
        chat: str = "",
        remote_id: str | None = None,
        event: dict[str, Any] | None = None,
    ) -> None:
        self._attempts.pop(position, None)
        async with self._store.transaction() as txn:
            if remote_id is not None and event is not None:
                await txn.execute(
                    "INSERT OR IGNORE INTO messages (chat, remote_id, event_id, sender) VALUES (?, ?, ?, ?)",
                    (chat, remote_id, event["event_id"], event["sender"]),
                )
            await txn.execute("UPDATE outgoing SET state = ?, body = '' WHERE position = ?", (state, position))

    async def _confirm(self, event: dict[str, Any]) -> None:
        """The bot's read receipt is the sign that the other network has the message. Losing one does no harm."""
        try:
            await self._client.send_receipt(event["room_id"], event["event_id"])
        except (Refused, GaveUp) as error:
            log.info("no delivery receipt for %s: %s", event["event_id"], error)

    async def _tell_failure(self, event: dict[str, Any], reason: str) -> None:
        content = {
            "msgtype": "m.notice",
            "body": f"⚠ Not delivered: {reason}",
            "m.relates_to": {"m.in_reply_to": {"event_id": event["event_id"]}},
        }
        try:
            key = txn_id("failure", event["event_id"])
            await self._client.send(event["room_id"], "m.room.message", content, key)
        except Refused as refused:
            log.warning("nobody could be told that %s failed: %s", event["event_id"], refused)

    async def _answer_invitation(self, event: dict[str, Any]) -> None:
        room_id, invited = event["room_id"], event["state_key"]
        chat = None
        if isinstance(self._network, OpensChats):
            ghost = await self._ghosts.find_remote_id(invited)
            chat = await self._network.open_chat(room_id, MatrixUser(event["sender"]), ghost)
        try:
            if chat is None:
                await self._client.leave(room_id, user=invited)
            else:
                await self._client.join(room_id, user=invited)
                await self._portals.adopt(chat, room_id)
        except Refused as refused:
            log.warning("the invitation of %s could not be answered: %s", invited, refused)
