"""Send-to-device messages waiting for the devices of this server. Spec: "Send-to-Device messaging"."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Reader, Transaction


@dataclass(frozen=True, slots=True)
class ToDeviceMessage:
    """One message in a device's inbox. `content` is JSON text."""

    position: int
    sender: str
    type: str
    content: str


class ToDeviceStore:
    """The tables `to_device_messages` and `to_device_transactions`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add_message(
        self, txn: Transaction, user_id: str, device_id: str, position: int, sender: str, type: str, content: str
    ) -> None:
        """Into the inbox of one device; at most one message for each device and position."""
        txn.add(
            "INSERT INTO to_device_messages (user_id, device_id, position, sender, type, content) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (user_id, device_id, position, sender, type, content),
        )

    async def list_messages(
        self, user_id: str, device_id: str, after: int, up_to: int, limit: int, reader: Reader | None = None
    ) -> list[ToDeviceMessage]:
        """Messages with positions in (after, up_to], the oldest first, at most `limit`."""
        rows = await (reader or self._db).fetch_all(
            "SELECT position, sender, type, content FROM to_device_messages "
            "WHERE user_id = ? AND device_id = ? AND position > ? AND position <= ? ORDER BY position LIMIT ?",
            (user_id, device_id, after, up_to, limit),
        )
        return [ToDeviceMessage(*row) for row in rows]

    async def count_messages(self, user_id: str, device_id: str, reader: Reader | None = None) -> int:
        count = await (reader or self._db).fetch_value(
            "SELECT COUNT(*) FROM to_device_messages WHERE user_id = ? AND device_id = ?", (user_id, device_id)
        )
        return int(count)

    async def remove_messages(self, txn: Transaction, user_id: str, device_id: str, up_to: int) -> int:
        """Delivered: everything up to and with the position; how many there were."""
        return await txn.execute(
            "DELETE FROM to_device_messages WHERE user_id = ? AND device_id = ? AND position <= ?",
            (user_id, device_id, up_to),
        )

    async def remove_all_messages(self, txn: Transaction, user_id: str, device_id: str) -> None:
        await txn.execute("DELETE FROM to_device_messages WHERE user_id = ? AND device_id = ?", (user_id, device_id))

    async def trim_inbox(self, txn: Transaction, user_id: str, device_id: str, keep: int) -> int:
        """Bring an inbox down to `keep` messages: the oldest of whoever sent most of them go first (row D11), so that
        somebody who floods a sleeping device drives out their own. How many were dropped."""
        dropped = 0
        while (excess := await self.count_messages(user_id, device_id, txn) - keep) > 0:
            row = await txn.fetch_one(
                "SELECT sender, COUNT(*) FROM to_device_messages WHERE user_id = ? AND device_id = ? "
                "GROUP BY sender ORDER BY 2 DESC, 1 LIMIT 1",
                (user_id, device_id),
            )
            assert row is not None
            sender, sent = row
            runner_up = await txn.fetch_value(
                "SELECT COUNT(*) FROM to_device_messages WHERE user_id = ? AND device_id = ? AND sender <> ? "
                "GROUP BY sender ORDER BY 1 DESC LIMIT 1",
                (user_id, device_id, sender),
            )
            going = min(excess, max(1, sent - (runner_up or 0)))
            dropped += await txn.execute(
                "DELETE FROM to_device_messages WHERE user_id = ? AND device_id = ? AND sender = ? AND position IN ("
                "SELECT position FROM to_device_messages WHERE user_id = ? AND device_id = ? AND sender = ? "
                "ORDER BY position LIMIT ?)",
                (user_id, device_id, sender, user_id, device_id, sender, going),
            )
        return dropped

    async def add_transaction(
        self, txn: Transaction, user_id: str, device_id: str, txn_id: str, created_ts: int
    ) -> bool:
        """False if this device made the request before."""
        added = await txn.execute(
            "INSERT INTO to_device_transactions (user_id, device_id, txn_id, created_ts) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (user_id, device_id, txn_id) DO NOTHING",
            (user_id, device_id, txn_id, created_ts),
        )
        return added == 1

    async def remove_transactions_before(self, txn: Transaction, created_ts: int) -> None:
        await txn.execute("DELETE FROM to_device_transactions WHERE created_ts < ?", (created_ts,))

    async def add_received(self, txn: Transaction, origin: str, message_id: str, received_ts: int) -> bool:
        """False if this message came from that server before."""
        added = await txn.execute(
            "INSERT INTO received_messages (origin, message_id, received_ts) VALUES (?, ?, ?) "
            "ON CONFLICT (origin, message_id) DO NOTHING",
            (origin, message_id, received_ts),
        )
        return added == 1

    async def remove_received_before(self, txn: Transaction, received_ts: int) -> None:
        await txn.execute("DELETE FROM received_messages WHERE received_ts < ?", (received_ts,))
