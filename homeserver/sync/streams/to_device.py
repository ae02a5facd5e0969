"""Messages to this device: sent again until the client comes back with a token past them, then deleted."""

from __future__ import annotations

from typing import Any, Final

from homeserver.rooms.tokens import StreamToken
from homeserver.stream import Change, Stream
from homeserver.sync.request import SyncRun
from homeserver.users.to_device import PAGE, ToDevice

DEVICES: Final = 50_000


class ToDeviceSection:
    """`to_device`. Spec: Client-Server API, "Send-to-Device messaging"."""

    def __init__(self, to_device: ToDevice, stream: Stream) -> None:
        self._to_device = to_device
        self._stream = stream
        self._acknowledged: set[tuple[str, str]] = set()

    async def acknowledge(self, user_id: str, device_id: str, position: int) -> None:
        """The device came back with a token: it has what the answer with that token held. Costs nothing for devices
        that were sent nothing since they last did so."""
        if (user_id, device_id) in self._acknowledged:
            return
        await self._to_device.acknowledge(user_id, device_id, position)
        if len(self._acknowledged) >= DEVICES:
            self._acknowledged.clear()
        self._acknowledged.add((user_id, device_id))

    async def add_to(self, run: SyncRun) -> None:
        device_id = run.reader.device_id
        if device_id is None:
            return
        after = 0 if run.request.is_lost else run.after  # whatever waits has not been seen, as far as anybody knows
        if after and not self._stream.changed_since(Change.TO_DEVICE, run.user_id, after):
            return
        messages, read_to = await self.messages(run.user_id, device_id, after, run.now.position)
        if messages:
            run.response["to_device"] = {"events": messages}
        if read_to < run.now.position:
            # There are more than one answer holds: the next one begins where this one stopped.
            run.now = StreamToken(read_to, run.now.typing)

    async def messages(
        self, user_id: str, device_id: str, after: int, up_to: int, limit: int = PAGE
    ) -> tuple[list[dict[str, Any]], int]:
        """(messages of (after, up_to], the place to go on from)."""
        messages, read_to = await self._to_device.list_messages(user_id, device_id, after, up_to, limit)
        if messages:
            self._acknowledged.discard((user_id, device_id))
        return messages, read_to
