"""Send-to-device messages: into the inboxes of local devices, and on to other servers.

Spec: Client-Server API, "Send-to-Device messaging". Limits: row D11 of the known attacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from homeserver.clock import Clock
from homeserver.protocol.errors import BadJson, InvalidParam, TooLarge
from homeserver.protocol.identifiers import ServerName, domain_of, is_user_id
from homeserver.storage.database import Database, Transaction
from homeserver.storage.devices import DeviceStore
from homeserver.storage.to_device import ToDeviceStore
from homeserver.stream import Announcer, Change
from homeserver.users.hooks import UserHooks
from homeserver.users.requester import Requester
from homeserver.users.secret_tokens import new_row_id

MAXIMUM_MESSAGE_BYTES = 64 * 1024
MAXIMUM_WAITING = 10_000
"""Messages in one inbox; beyond, the oldest of whoever sent most are dropped."""
PAGE = 100
"""Messages in one answer to /sync, as the spec recommends."""
_TRANSACTIONS_KEPT_MS = 24 * 3600 * 1000
_RECEIVED_KEPT_MS = 30 * 24 * 3600 * 1000
_MESSAGE_ID_LENGTH = 255
_CHECK_EVERY = 500

Messages = Mapping[str, Mapping[str, Any]]
"""{user id: {device id or "*": content}}"""


class ToDevice:
    """The inboxes of the devices of this server."""

    def __init__(
        self,
        db: Database,
        store: ToDeviceStore,
        devices: DeviceStore,
        clock: Clock,
        announcer: Announcer,
        server_name: ServerName,
        hooks: UserHooks,
    ) -> None:
        self._db = db
        self._store = store
        self._devices = devices
        self._clock = clock
        self._announcer = announcer
        self._server_name = server_name
        self._hooks = hooks
        self._added: dict[tuple[str, str], int] = {}
        self._swept_received = 0

    async def send(self, requester: Requester, type: str, txn_id: str, messages: Messages) -> None:
        """A client sends; a repeated transaction id changes nothing. Raises BadJson, InvalidParam, TooLarge."""
        check_messages(type, messages)
        if len(txn_id) > 255:
            raise InvalidParam("A transaction id has at most 255 characters.")
        local = {user_id: each for user_id, each in messages.items() if domain_of(user_id) == self._server_name}
        remote = {user_id: each for user_id, each in messages.items() if user_id not in local}

        async def write(txn: Transaction) -> None:
            now = self._clock.now_ms()
            device_id = requester.device_id or f"appservice {requester.appservice_id}"
            if not await self._store.add_transaction(txn, requester.user_id, device_id, f"{type} {txn_id}", now):
                return
            await self._store.remove_transactions_before(txn, now - _TRANSACTIONS_KEPT_MS)
            await self.deliver(txn, requester.user_id, type, local)
            if remote:
                message_id = f"{new_row_id():x}"
                for send_on in self._hooks.remote_messages:
                    await send_on(txn, requester.user_id, type, message_id, remote)

        await self._db.write(write)

    async def receive(self, sender: str, type: str, message_id: str | None, messages: Messages) -> None:
        """Messages of another server, whose sender has been checked (row B10). What came before under its id, from the
        same server, is not delivered again. Raises BadJson, InvalidParam, TooLarge."""
        check_messages(type, messages)
        if message_id is not None and (len(message_id) > _MESSAGE_ID_LENGTH or "\0" in message_id):
            raise InvalidParam(f"The id of a message has at most {_MESSAGE_ID_LENGTH} characters.")
        local = {user_id: each for user_id, each in messages.items() if domain_of(user_id) == self._server_name}
        if not local:
            return

        async def write(txn: Transaction) -> None:
            now = self._clock.now_ms()
            if message_id is not None:
                if not await self._store.add_received(txn, domain_of(sender), message_id, now):
                    return
                if now - self._swept_received > 3600 * 1000:
                    self._swept_received = now
                    await self._store.remove_received_before(txn, now - _RECEIVED_KEPT_MS)
            await self.deliver(txn, sender, type, local)

        await self._db.write(write)

    async def deliver(self, txn: Transaction, sender: str, type: str, messages: Messages) -> None:
        """Into local inboxes, inside a transaction; what names no device of ours is dropped."""
        position = 0
        users: list[str] = []
        devices = await self._devices.list_device_ids(list(messages), txn)
        for user_id, contents in messages.items():
            for device_id in devices.get(user_id, ()):
                content = contents.get(device_id, contents.get("*"))
                if content is None:
                    continue
                position = position or txn.next_position()
                text = msgspec.json.encode(content).decode()
                self._store.add_message(txn, user_id, device_id, position, sender, type, text)
                await self._bound_inbox(txn, user_id, device_id)
                if not users or users[-1] != user_id:
                    users.append(user_id)
        if users:
            txn.on_commit(lambda: self._announcer.announce(Change.TO_DEVICE, position, users=users))

    async def list_messages(
        self, user_id: str, device_id: str, after: int, up_to: int, limit: int = PAGE
    ) -> tuple[list[dict[str, Any]], int]:
        """For /sync: (events with positions in (after, up_to], the oldest first; the position to read on from and to
        acknowledge). The latter is `up_to` when nothing was left out."""
        messages = await self._store.list_messages(user_id, device_id, after, up_to, limit)
        events = [
            {"sender": message.sender, "type": message.type, "content": msgspec.Raw(message.content.encode())}
            for message in messages
        ]
        return events, messages[-1].position if len(messages) == limit else up_to

    async def acknowledge(self, user_id: str, device_id: str, up_to: int) -> None:
        """The device has everything up to the position: delete it. Writes only if there is something."""
        if await self._store.list_messages(user_id, device_id, 0, up_to, 1):
            await self._db.write(lambda txn: self._store.remove_messages(txn, user_id, device_id, up_to))

    async def _bound_inbox(self, txn: Transaction, user_id: str, device_id: str) -> None:
        """Count an inbox only now and then: it may exceed its bound by `_CHECK_EVERY`."""
        key = (user_id, device_id)
        self._added[key] = self._added.get(key, 0) + 1
        if self._added[key] >= _CHECK_EVERY:
            del self._added[key]
            await self._store.trim_inbox(txn, user_id, device_id, MAXIMUM_WAITING)
        elif len(self._added) > 100_000:
            self._added.clear()


def check_messages(type: str, messages: Messages) -> None:
    """Raises BadJson, InvalidParam, TooLarge."""
    if not 0 < len(type.encode("utf-8", "surrogatepass")) <= 255:
        raise InvalidParam("A type has 1 to 255 bytes.")
    for user_id, contents in messages.items():
        if not is_user_id(user_id):
            raise InvalidParam("The keys of 'messages' must be user ids.")
        if not isinstance(contents, Mapping):
            raise BadJson("Each user's messages must be an object.")
        for content in contents.values():
            if not isinstance(content, Mapping):
                raise BadJson("Each message must be an object.")
            if len(msgspec.json.encode(content)) > MAXIMUM_MESSAGE_BYTES:
                raise TooLarge(f"A message has at most {MAXIMUM_MESSAGE_BYTES} bytes.")
