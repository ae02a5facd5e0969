"""EDUs that come in, one handler a type. Every handler's first question is whether the sender's server is the origin:
`_own` is that one gate (B10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from federation.device_lists import RemoteDeviceLists
from federation.remote_presence import RemotePresence, Said
from federation.throttle import Throttle
from federation.transactions import EduHandler, acl_of
from homeserver.clock import Clock
from homeserver.protocol.errors import BadJson, Forbidden, MatrixError, Unavailable
from homeserver.protocol.identifiers import domain_of, is_user_id
from homeserver.rooms.receipts import READ
from homeserver.rooms.services import RoomServices
from homeserver.users.presence import parse_state
from homeserver.users.services import UserServices

DEVICES_MAX: Final = 1_000
TYPING_BURST: Final = 50
TYPING_PER_SECOND: Final = 5.0
"""So often people of one server may begin to type in one room."""
PRESENT_MAX: Final = 1_000
TYPING_MS: Final = 60_000
"""Who stopped to type says so; whose server vanished is believed no longer than this. Those who go on say so earlier
(`outgoing_edus.py`)."""


class IncomingEdus:
    """Takes EDUs."""

    def __init__(
        self,
        users: UserServices,
        rooms: RoomServices,
        device_lists: RemoteDeviceLists,
        presence: RemotePresence,
        clock: Clock,
    ) -> None:
        self._presence_of_others = presence
        self._begins = Throttle(clock, TYPING_BURST, TYPING_PER_SECOND)
        self._users = users
        self._rooms = rooms
        self._device_lists = device_lists

    def handlers(self) -> dict[str, EduHandler]:
        """By `edu_type`."""
        return {
            "m.typing": self._typing,
            "m.receipt": self._receipt,
            "m.presence": self._presence,
            "m.direct_to_device": self._to_device,
            "m.device_list_update": self._device_list,
            "m.signing_key_update": self._signing_keys,
        }

    async def _typing(self, origin: str, content: Any) -> None:
        said = _object(content)
        user_id, room_id = _own(origin, said.get("user_id")), said.get("room_id")
        room = await self._rooms.live.find(room_id) if isinstance(room_id, str) else None
        if room is None or not acl_of(room).allows(origin):
            raise Forbidden("Not in that room")
        typing = said.get("typing") is True
        if typing and not self._begins.may(f"{origin} {room_id}"):
            return  # a storm, which would wake every client in the room (D16)
        await self._rooms.typing.set_typing(user_id, room.room_id, typing=typing, timeout_ms=TYPING_MS)

    async def _receipt(self, origin: str, content: Any) -> None:
        for room_id, by_type in _object(content).items():
            room = await self._rooms.live.find(room_id)
            if room is None or not acl_of(room).allows(origin):
                continue
            for user_id, receipt in _object(_object(by_type).get(READ, {})).items():
                _own(origin, user_id)
                said = _object(receipt)
                event_ids, data = said.get("event_ids"), _object(said.get("data", {}))
                read = _name(event_ids[0]) if isinstance(event_ids, list) and event_ids else None
                if read is not None:
                    try:
                        await self._rooms.receipts.set_receipt(
                            user_id, room_id, READ, read, _name(data.get("thread_id"))
                        )
                    except Unavailable:
                        raise
                    except MatrixError:
                        continue  # of an event that has not come, say: the others are still true

    async def _presence(self, origin: str, content: Any) -> None:
        push = _object(content).get("push")
        told: dict[str, Said] = {}
        for one in push[:PRESENT_MAX] if isinstance(push, list) else ():
            said = _object(one)
            user_id, state = _own(origin, said.get("user_id")), said.get("presence")
            status, ago = said.get("status_msg"), said.get("last_active_ago")
            if state in ("online", "offline", "unavailable"):
                since = ago if isinstance(ago, int) and 0 <= ago < 2**53 else 0
                told[user_id] = (parse_state(state), status if isinstance(status, str) else None, since)
        await self._presence_of_others.receive(told)

    async def _to_device(self, origin: str, content: Any) -> None:
        said = _object(content)
        sender, kind, messages = _own(origin, said.get("sender")), said.get("type"), _object(said.get("messages"))
        if not isinstance(kind, str) or not 0 < len(kind.encode()) <= 255 or "\0" in kind:
            raise BadJson("A message has a type")
        wanted = {
            user_id: {device: one for device, one in _object(by_device).items() if isinstance(one, Mapping)}
            for user_id, by_device in list(messages.items())[:DEVICES_MAX]
        }
        message_id = said.get("message_id")
        await self._users.to_device.receive(sender, kind, message_id if isinstance(message_id, str) else None, wanted)

    async def _device_list(self, origin: str, content: Any) -> None:
        said = _object(content)
        await self._device_lists.update(_own(origin, said.get("user_id")), said)

    async def _signing_keys(self, origin: str, content: Any) -> None:
        said = _object(content)
        await self._device_lists.signing_keys(_own(origin, said.get("user_id")), said)


def _own(origin: str, user_id: Any) -> str:
    """The gate: a user of the origin. Raises Forbidden."""
    if not isinstance(user_id, str) or not is_user_id(user_id) or domain_of(user_id) != origin:
        raise Forbidden("Servers speak for their own users only")
    return user_id


def _name(value: Any) -> str | None:
    """An identifier, of a length that those have, and of characters that every database keeps."""
    return value if isinstance(value, str) and len(value) <= 255 and "\0" not in value else None


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadJson("That must be an object")
    return value
