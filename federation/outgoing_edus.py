"""What other servers are told beside events: typing, receipts, presence, messages between devices, news of devices.

News of devices go out as one update of the whole list: its predecessor is one that was never sent, so that the receiver
asks for the list as it is then (`/user/devices`), and never keeps half of it.

Spec: Server-Server API, "Typing Notifications", "Presence", "Receipts", "Device Management", and "Send-to-device
messaging".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Final

from federation.sender import FederationSender
from homeserver.encryption.services import EncryptionServices
from homeserver.protocol.errors import Unavailable
from homeserver.protocol.identifiers import domain_of
from homeserver.rooms.receipts import READ
from homeserver.rooms.services import RoomServices
from homeserver.storage.database import Database, Transaction
from homeserver.storage.destinations import DestinationStore
from homeserver.stream import Change, Stream
from homeserver.users.services import UserServices

DEVICES: Final = "devices"

_log = logging.getLogger("federation.edus")


class OutgoingEdus:
    """Listens to what happens here, and tells it."""

    def __init__(
        self,
        *,
        db: Database,
        store: DestinationStore,
        sender: FederationSender,
        rooms: RoomServices,
        users: UserServices,
        encryption: EncryptionServices,
        stream: Stream,
        own_name: str,
    ) -> None:
        self._db = db
        self._store = store
        self._sender = sender
        self._rooms = rooms
        self._users = users
        self._encryption = encryption
        self._stream = stream
        self._own_name = own_name
        self._typing: dict[str, frozenset[str]] = {}
        self._receipts_place = 0
        self._devices_place = 0
        self._present: set[str] = set()
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._receipts_place = self._db.position
        place = await self._store.find_place(DEVICES)
        self._devices_place = self._db.position if place is None else place
        self._users.hooks.remote_messages.append(self._keep_messages)
        self._rooms.typing.listen(self._typing_changed)
        self._stream.listen(self._changed)
        self._moved.set()
        self._task = asyncio.create_task(self._run(), name="EDUs to other servers")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # ---- what happens

    def _is_ours(self, user_id: str) -> bool:
        return domain_of(user_id) == self._own_name

    def _typing_changed(self, room_id: str) -> None:
        room = self._rooms.live.peek(room_id)
        now = frozenset(user_id for user_id in self._rooms.typing.who(room_id) if self._is_ours(user_id))
        before = self._typing.pop(room_id, frozenset())
        if now:
            self._typing[room_id] = now
        servers = frozenset() if room is None else self._sender.servers_of(room)
        for user_id in now ^ before if servers else ():
            content = {"room_id": room_id, "user_id": user_id, "typing": user_id in now}
            self._sender.send_edu(servers, "m.typing", content, room_id, user_id)

    def _changed(self, kind: Change, position: int, rooms: tuple[str, ...], users: tuple[str, ...]) -> None:
        if kind is Change.PRESENCE:
            self._present.update(user_id for user_id in users if self._is_ours(user_id))
        elif kind not in (Change.RECEIPTS, Change.DEVICE_LISTS):
            return
        self._moved.set()

    async def _keep_messages(
        self, txn: Transaction, sender: str, kind: str, message_id: str, messages: Mapping[str, Mapping[str, Any]]
    ) -> None:
        by_server: dict[str, dict[str, Any]] = {}
        for user_id, by_device in messages.items():
            by_server.setdefault(domain_of(user_id), {})[user_id] = dict(by_device)
        for name, wanted in by_server.items():
            content = {"sender": sender, "type": kind, "message_id": message_id, "messages": wanted}
            self._sender.keep_edu(txn, name, "m.direct_to_device", content)

    # ---- telling it

    async def _run(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            try:
                await self._tell_receipts()
                await self._tell_devices()
                await self._tell_presence()
            except Unavailable as error:
                _log.warning("EDUs wait for the database: %s", error)
            except Exception:
                _log.exception("EDUs could not be told")

    async def _tell_receipts(self) -> None:
        up_to = self._stream.position
        found = await self._rooms.receipts.list_stream(self._receipts_place, up_to)
        self._receipts_place = up_to
        for room_id, receipts in found.items():
            room = await self._rooms.live.find(room_id)
            servers = frozenset() if room is None else self._sender.servers_of(room)
            for receipt in receipts if servers else ():
                if receipt.receipt_type != READ or not self._is_ours(receipt.user_id):
                    continue
                data: dict[str, Any] = {"ts": receipt.ts}
                if receipt.thread_id:
                    data["thread_id"] = receipt.thread_id
                said = {receipt.user_id: {"data": data, "event_ids": [receipt.event_id]}}
                self._sender.send_edu(
                    servers, "m.receipt", {room_id: {READ: said}}, room_id, receipt.user_id, receipt.thread_id
                )

    async def _tell_presence(self) -> None:
        users, self._present = self._present, set()
        for user_id in users:
            content = {"user_id": user_id, **await self._users.presence.content_of(user_id)}
            servers = await self._servers_of_user(user_id)
            self._sender.send_edu(servers, "m.presence", {"push": [content]}, user_id)

    async def _tell_devices(self) -> None:
        up_to = self._stream.position
        users = await self._users.device_lists.list_changed_users(self._devices_place, up_to)
        ours = [user_id for user_id in users if self._is_ours(user_id)]
        told = [
            (name, update)
            for user_id in ours
            if (servers := await self._servers_of_user(user_id)) and (update := await self._update(user_id, up_to))
            for name in servers
        ]
        if not users:
            return

        async def job(txn: Transaction) -> None:
            for name, update in told:
                self._sender.keep_edu(txn, name, "m.device_list_update", update, update["user_id"])
            self._store.set_place(txn, DEVICES, up_to)

        await self._db.write(job)
        self._devices_place = up_to

    async def _update(self, user_id: str, position: int) -> dict[str, Any] | None:
        keys = (await self._encryption.key_queries.query_local(None, {user_id: []}))["device_keys"].get(user_id, {})
        ids = sorted(device.device_id for device in await self._users.devices.list_devices(user_id))
        if not ids:
            return {"user_id": user_id, "device_id": "NONE", "stream_id": position, "deleted": True, "prev_id": [0]}
        update: dict[str, Any] = {
            "user_id": user_id,
            "device_id": ids[0],
            "stream_id": position,
            "prev_id": [position - 1],
        }
        if ids[0] in keys:
            update["keys"] = keys[ids[0]]
        return update

    async def _servers_of_user(self, user_id: str) -> frozenset[str]:
        servers: frozenset[str] = frozenset()
        with contextlib.suppress(Unavailable):
            for room_id in await self._rooms.memberships.joined_rooms(user_id):
                room = await self._rooms.live.find(room_id)
                if room is not None:
                    servers |= self._sender.servers_of(room)
        return servers
