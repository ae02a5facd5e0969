"""What a visitor may see (W14): an allow-list of message kinds and of fields. Whatever is not named here stays inside.

Only m.text, m.emote and files of people are shown. Notices (what bots say) and messages that begin with `//` are
internal notes. Of the sender a visitor gets the display name, never the user id. Formatted bodies are not used (W06).
"""

from __future__ import annotations

from typing import Any

from bridges.kit.messages import MatrixMessage, MatrixUser
from bridges.kit.text import clean_name, clean_text

NOTE_PREFIX = "//"
SHOWN_KINDS = frozenset({"m.text", "m.emote"})
LONGEST_SHOWN = 20_000
IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


def is_internal(message: MatrixMessage) -> bool:
    """Whether a message is for the staff only."""
    return message.text.startswith(NOTE_PREFIX) or (message.media is None and message.kind not in SHOWN_KINDS)


def staff_name(user: MatrixUser, fallback: str) -> str:
    """The name that a visitor reads. An e-mail address or user id used as a name is not shown."""
    name = clean_name(user.name, 60)
    return name if name and "@" not in name else fallback


def staff_message(message: MatrixMessage, name: str) -> dict[str, Any]:
    """The visitor's view of a message from the room."""
    text = clean_text(message.text)[:LONGEST_SHOWN]
    return {
        "from": "staff",
        "name": name,
        "text": f"* {name} {text}" if message.kind == "m.emote" else text,
        "ts": message.timestamp_ms,
    }


def visitor_message(text: str, client_id: str, timestamp_ms: int) -> dict[str, Any]:
    """The visitor's view of what he wrote himself."""
    return {"from": "visitor", "text": text, "client_id": client_id, "ts": timestamp_ms}


def sniff_image(data: bytes) -> str | None:
    """The type of a raster image by its first bytes; whatever else it is, it is not shown in place (W07, W28)."""
    for magic, mimetype in IMAGES.items():
        if data.startswith(magic):
            return mimetype
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None
