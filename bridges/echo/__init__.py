"""The smallest bridge: a network that says back what it hears. docs/bridges.md walks through it."""

from __future__ import annotations

from bridges.kit import Bridge, BridgeSettings, MatrixMessage, MatrixUser, Person, RemoteMessage


class EchoNetwork:
    """Invite the bot into a room, and the echo answers there."""

    async def start(self, bridge: Bridge) -> None:
        self.bridge = bridge

    async def stop(self) -> None:
        """There is nothing to disconnect from."""

    async def open_chat(self, room_id: str, inviter: MatrixUser, ghost: str | None) -> str | None:
        return room_id  # every room is a chat of its own

    async def send(self, chat: str, message: MatrixMessage) -> str:
        echo = RemoteMessage(
            chat=chat,
            id=f"echo of {message.event_id}",
            sender=Person("echo", "Echo"),
            text=message.text,
        )
        await self.bridge.receive(echo)
        return message.event_id


def build(settings: BridgeSettings) -> Bridge:
    return Bridge(EchoNetwork(), settings)
