"""The frames of the visitor's WebSocket, as docs/webchat.md describes them. What comes in is typed or refused."""

from __future__ import annotations

import re
from typing import Any

import msgspec

LARGEST_FRAME = 32 * 1024
CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")

CLOSE_BAD_FRAME = 4400
CLOSE_FORBIDDEN = 4403
CLOSE_HELLO_FIRST = 4408
CLOSE_TOO_MUCH = 4429
CLOSE_GOING_AWAY = 1001
CLOSE_FAILED = 1011


class BadFrame(Exception):
    """The visitor's frame is not one of the protocol; the text says why."""


class Page(msgspec.Struct, frozen=True):
    """The page that the visitor looks at. Claims of the browser: labels only."""

    title: str = ""
    url: str = ""


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    site: str
    token: str | None = None
    since: int = 0
    lang: str = ""
    page: Page = Page()
    name: str = ""
    email: str = ""


class Message(msgspec.Struct, frozen=True, tag="message"):
    client_id: str
    text: str


class Typing(msgspec.Struct, frozen=True, tag="typing"):
    typing: bool


class Read(msgspec.Struct, frozen=True, tag="read"):
    seq: int


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    seq: int


class Label(msgspec.Struct, frozen=True, tag="label"):
    name: str = ""
    email: str = ""


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    pass


Frame = Hello | Message | Typing | Read | Ack | Label | Ping
_decoder = msgspec.json.Decoder(Frame)


def decode(data: bytes) -> Frame:
    """One frame from the wire; raises BadFrame."""
    try:
        frame: Frame = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadFrame(str(error)) from error
    if isinstance(frame, Message) and not CLIENT_ID.fullmatch(frame.client_id):
        raise BadFrame("client_id must be 8 to 64 letters, digits, - and _")
    if isinstance(frame, Hello) and frame.token is not None and not TOKEN.fullmatch(frame.token):
        raise BadFrame("this is not a token that the server gave")
    if isinstance(frame, Hello | Read | Ack):
        number = frame.since if isinstance(frame, Hello) else frame.seq
        if not 0 <= number < 2**53:
            raise BadFrame("sequence numbers are not negative")
    return frame


def encode(frame: dict[str, Any]) -> bytes:
    return msgspec.json.encode(frame)


def error_frame(code: str, message: str, **more: Any) -> dict[str, Any]:
    return {"type": "error", "code": code, "message": message, **more}
