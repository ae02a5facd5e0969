"""What other servers are told beside events: typing, receipts, presence, messages between devices, news of devices.

News of devices go out as one update of the whole list: its predecessor is one that was never sent, so that the receiver
asks for the list as it is then (`/user/devices`), and never keeps half of it.

Who goes on typing, or is still there, is told again before others stop to believe it.

Spec: Server-Server API, "Typing Notifications", "Presence", "Receipts", "Device Management", and "Send-to-device
messaging".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from federation.sender import FederationSender
from homeserver.clock import Clock, Timer
from homeserver.encryption.services import EncryptionServices
from homeserver.protocol.errors import Unavailable
from homeserver.protocol.identifiers import domain_of
from homeserver.rooms.live_room import LiveRoom
from homeserver.rooms.receipts import READ
from homeserver.rooms.services import RoomServices
from homeserver.storage.database import Database, Transaction
from homeserver.storage.destinations import DestinationStore
from homeserver.stream import Change, Stream
from homeserver.users.services import UserServices

DEVICES: Final = "devices"
NEVER_SENT: Final = 0
"""The number of an update that no server was ever sent, nor told of."""
KEPT_SIGNING_KEYS: Final = 10_000
TYPING_AGAIN_SECONDS: Final = 25.0
PRESENCE_AGAIN_SECONDS: Final = 25 * 60.0
"""Others give up after half an hour."""

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
        clock: Clock,
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
        self._clock = clock
        self._timers: dict[str, Timer] = {}
        self._signing_keys: dict[str, Any] = {}
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
        self._call_again("presence", PRESENCE_AGAIN_SECONDS, self._presence_again)

    async def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
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
        servers = frozenset() if room is None else self._sender.servers_of(room)
        if now and servers:
            self._typing[room_id] = now
            if "typing" not in self._timers:
                self._call_again("typing", TYPING_AGAIN_SECONDS, self._typing_again)
        self._tell_typing(servers, room_id, now ^ before, now)

    def _tell_typing(
        self, servers: frozenset[str], room_id: str, users: frozenset[str], typing: frozenset[str]
    ) -> None:
        for user_id in users if servers else ():
            content = {"room_id": room_id, "user_id": user_id, "typing": user_id in typing}
            self._sender.send_edu(servers, "m.typing", content, room_id, user_id)

    def _typing_again(self) -> None:
        for room_id, users in self._typing.items():
            room = self._rooms.live.peek(room_id)
            if room is not None:
                self._tell_typing(self._sender.servers_of(room), room_id, users, users)
        if self._typing:
            self._call_again("typing", TYPING_AGAIN_SECONDS, self._typing_again)

    def _presence_again(self) -> None:
        self._present.update(user_id for user_id in self._users.presence.who_is_here() if self._is_ours(user_id))
        self._moved.set()
        self._call_again("presence", PRESENCE_AGAIN_SECONDS, self._presence_again)

    def _call_again(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        def due() -> None:
            del self._timers[name]
            callback()

        self._timers[name] = self._clock.call_later(seconds, due)

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
            servers = await self._servers_of_user(user_id)
            if servers:
                await self.tell_presence_to([user_id], servers)

    async def tell_presence_to(self, user_ids: Iterable[str], servers: frozenset[str]) -> None:
        """Tell servers who of our users is there."""
        for user_id in user_ids:
            content = {"user_id": user_id, **await self._users.presence.content_of(user_id)}
            self._sender.send_edu(servers, "m.presence", {"push": [content]}, user_id)

    def servers_of(self, room: LiveRoom) -> frozenset[str]:
        """The other servers that are told of what happens in a room."""
        return self._sender.servers_of(room)

    async def _tell_devices(self) -> None:
        up_to = self._stream.position
        users = await self._users.device_lists.list_changed_users(self._devices_place, up_to)
        ours = [user_id for user_id in users if self._is_ours(user_id)]
        if not users:
            return
        told = [
            (servers, await self._updates(user_id, up_to))
            for user_id in ours
            if (servers := await self._servers_of_user(user_id))
        ]

        async def job(txn: Transaction) -> None:
            for servers, updates in told:
                self._keep_updates(txn, servers, updates)
            self._store.set_place(txn, DEVICES, up_to)

        await self._db.write(job)
        self._devices_place = up_to

    async def tell_devices_to(self, user_id: str, servers: frozenset[str]) -> None:
        """Tell servers that are new to our user that there is a device list. They ask for it when they want it; so this
        is for those who know an old one, and whoever is away misses nothing."""
        if servers:
            updates = await self._updates(user_id, self._stream.position, is_first=True)
            for edu_type, content in updates.items():
                self._sender.send_edu(servers, edu_type, content, user_id)

    def _keep_updates(self, txn: Transaction, servers: frozenset[str], updates: Mapping[str, dict[str, Any]]) -> None:
        for edu_type, content in updates.items():
            for name in servers:
                self._sender.keep_edu(txn, name, edu_type, content, content["user_id"])

    async def _updates(self, user_id: str, position: int, *, is_first: bool = False) -> dict[str, dict[str, Any]]:
        """The EDUs, by type. Who a user is by cross-signing is told when it changes, as far as this run knows; a
        receiver's first list has it in any case."""
        keys = await self._encryption.key_queries.query_local(None, {user_id: []})
        updates = {"m.device_list_update": await self._update(user_id, position, keys["device_keys"].get(user_id, {}))}
        signing = {
            name: keys[member][user_id]
            for name, member in (("master_key", "master_keys"), ("self_signing_key", "self_signing_keys"))
            if user_id in keys[member]
        }
        if signing and not is_first and self._signing_keys.get(user_id) != signing:
            if len(self._signing_keys) >= KEPT_SIGNING_KEYS:
                self._signing_keys.pop(next(iter(self._signing_keys)))
            self._signing_keys[user_id] = signing
            updates["m.signing_key_update"] = {"user_id": user_id, **signing}
        return updates

    async def _update(self, user_id: str, position: int, keys: Mapping[str, Any]) -> dict[str, Any]:
        ids = sorted(device.device_id for device in await self._users.devices.list_devices(user_id))
        if not ids:
            return {
                "user_id": user_id,
                "device_id": "NONE",
                "stream_id": position,
                "deleted": True,
                "prev_id": [NEVER_SENT],
            }
        update: dict[str, Any] = {
            "user_id": user_id,
            "device_id": ids[0],
            "stream_id": position,
            "prev_id": [NEVER_SENT],
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
