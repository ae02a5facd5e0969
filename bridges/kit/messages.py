"""What travels through a bridge: `Remote…` comes from the other network, `Matrix…` goes to it.

The remote ones are stored until Matrix has them, so they are msgspec structs with a tag. Remote ids are whatever text
the network uses; the kit never interprets them, and `(chat, id)` must name one thing for ever: it is what makes a
repeated delivery harmless.
"""

from __future__ import annotations

import msgspec


class Person(msgspec.Struct, frozen=True):
    """Somebody on the other network. `name` is a label that he may have chosen himself, never an identity."""

    id: str
    name: str = ""


class RemoteMedia(msgspec.Struct, frozen=True):
    """A file that was uploaded with `MatrixClient.upload`; `mimetype` is what the bridge found, not what it heard."""

    mxc: str
    filename: str
    mimetype: str
    size: int


class RemoteMessage(msgspec.Struct, frozen=True, tag="message"):
    """A new message. `kind` is the msgtype; `timestamp_ms` when it was written, in milliseconds since the epoch."""

    chat: str
    id: str
    sender: Person
    text: str
    kind: str = "m.text"
    reply_to: str | None = None
    timestamp_ms: int | None = None
    media: RemoteMedia | None = None


class RemoteEdit(msgspec.Struct, frozen=True, tag="edit"):
    """`target` is the id of the message that now reads `text`; `id` names this change."""

    chat: str
    id: str
    sender: Person
    target: str
    text: str


class RemoteDeletion(msgspec.Struct, frozen=True, tag="deletion"):
    """The message `target` was taken back; `id` names this change."""

    chat: str
    id: str
    sender: Person
    target: str


class RemoteReaction(msgspec.Struct, frozen=True, tag="reaction"):
    """`key` is the emoji put on the message `target`; `id` names the reaction, so that it can be deleted."""

    chat: str
    id: str
    sender: Person
    target: str
    key: str


RemoteEvent = RemoteMessage | RemoteEdit | RemoteDeletion | RemoteReaction


class MatrixUser(msgspec.Struct, frozen=True):
    """Somebody in the room who is not one of this bridge's ghosts. `name` is his display name in the room, or ''."""

    user_id: str
    name: str = ""


class MatrixMedia(msgspec.Struct, frozen=True):
    """A file in the homeserver's media repository. The type and size are claims of the sender: trust neither."""

    mxc: str
    filename: str
    mimetype: str
    size: int | None


class MatrixMessage(msgspec.Struct, frozen=True):
    """A message from the room. `event_id` never changes between retries: give it to the network as idempotency key.

    `text` is the plain body, the reply fallback removed. `reply_to` is the remote id of what is answered, where known
    in this same chat (a reply to anything else is None, so nothing can be quoted from elsewhere).
    """

    event_id: str
    sender: MatrixUser
    kind: str
    text: str
    html: str | None
    timestamp_ms: int
    reply_to: str | None
    media: MatrixMedia | None
