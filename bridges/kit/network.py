"""What a bridge author writes: one class with the three methods of `Network`, and as many abilities as the network has.

An ability is a Protocol of its own: a network that defines the method has it, nothing is registered. Methods that carry
something from Matrix may be called again with the same arguments after a crash; `event_id` is the idempotency key.
Raise `Undeliverable` when trying again is pointless; any other exception is retried, in order, with growing pauses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from bridges.kit.messages import MatrixMessage, MatrixUser

if TYPE_CHECKING:
    from bridges.kit.bridge import Bridge


class Undeliverable(Exception):
    """The network will never take this. The text is shown to the sender in the room, so write a sentence for him."""


class Network(Protocol):
    """The mandatory part."""

    async def start(self, bridge: Bridge) -> None:
        """Connect. Keep `bridge`: what arrives from the network goes to `bridge.receive`."""
        ...

    async def stop(self) -> None:
        """Disconnect; nothing more may be given to the bridge afterwards."""
        ...

    async def send(self, chat: str, message: MatrixMessage) -> str | None:
        """Deliver a message to `chat`; the answer is the network's id for it, None when it is not meant for there."""
        ...


@dataclass(frozen=True, slots=True)
class ChatDescription:
    """How a new portal room looks. `invite` are Matrix user ids (they get power level 50)."""

    name: str
    topic: str = ""
    invite: tuple[str, ...] = ()


@runtime_checkable
class DescribesChats(Protocol):
    """The network knows what a chat is called and who belongs in its room."""

    async def describe_chat(self, chat: str) -> ChatDescription: ...


@runtime_checkable
class OpensChats(Protocol):
    """A Matrix user may start a chat by inviting the bot or a ghost into a room."""

    async def open_chat(self, room_id: str, inviter: MatrixUser, ghost: str | None) -> str | None:
        """The chat that `room_id` shall be from now on, or None to decline. `ghost`: remote id of the invited ghost."""
        ...


@runtime_checkable
class Media(Protocol):
    async def send_media(self, chat: str, message: MatrixMessage) -> str | None:
        """As `send`, for a message whose `media` is set. Without this ability the sender is told so."""
        ...


@runtime_checkable
class Edits(Protocol):
    async def edit(self, chat: str, remote_id: str, message: MatrixMessage) -> None:
        """`remote_id` now reads `message.text`; only ever called for the author of the original."""
        ...


@runtime_checkable
class Redactions(Protocol):
    async def delete(self, chat: str, remote_id: str, event_id: str) -> None: ...


@runtime_checkable
class Reactions(Protocol):
    async def react(self, chat: str, remote_id: str, key: str, sender: MatrixUser, event_id: str) -> str:
        """Put `key` on `remote_id`; the answer is the network's id of the reaction."""
        ...


@runtime_checkable
class Typing(Protocol):
    async def set_typing(self, chat: str, users: Sequence[MatrixUser]) -> None:
        """These and no others are typing now."""
        ...


@runtime_checkable
class Receipts(Protocol):
    async def mark_read(self, chat: str, remote_id: str, user: MatrixUser) -> None: ...


@runtime_checkable
class Members(Protocol):
    async def member_changed(self, chat: str, user: MatrixUser, membership: str) -> None:
        """A Matrix user's membership changed in the room of `chat`; called in order with the messages."""
        ...


@runtime_checkable
class HearsDelivery(Protocol):
    """The network wants to know what became of what it gave to `Bridge.receive`."""

    async def delivered(self, chat: str, remote_id: str, event_id: str) -> None: ...

    async def refused(self, chat: str, remote_id: str, reason: str) -> None: ...


@runtime_checkable
class FindsSent(Protocol):
    """The network can be asked whether a send that a crash interrupted had arrived; without it the send is repeated."""

    async def find_sent(self, chat: str, event_id: str) -> str | None: ...
