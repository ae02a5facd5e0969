"""Names and types of files as others wrote them, and the header that tells a browser what to do with a file.

Spec: Client-Server API, "Serving inline content"; RFC 6266 and RFC 8187 (rows E02 and E07 of the known attacks).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote

MAXIMUM_BYTES: Final = 255
DEFAULT_TYPE: Final = "application/octet-stream"

INLINE_TYPES: Final = frozenset(
    {
        "text/css",
        "text/plain",
        "text/csv",
        "application/json",
        "application/ld+json",
        "image/jpeg",
        "image/gif",
        "image/png",
        "image/apng",
        "image/webp",
        "image/avif",
        "video/mp4",
        "video/webm",
        "video/ogg",
        "video/quicktime",
        "audio/mp4",
        "audio/webm",
        "audio/aac",
        "audio/mpeg",
        "audio/ogg",
        "audio/wave",
        "audio/wav",
        "audio/x-wav",
        "audio/x-pn-wav",
        "audio/flac",
        "audio/x-flac",
    }
)
"""The specification's list: no HTML, no SVG, no PDF."""

_TYPE = re.compile(r"[!#$&^_.+A-Za-z0-9-]{1,127}/[!#$&^_.+A-Za-z0-9-]{1,127}(?:[ \t]*;[ \t\x21-\x7e]*)?")


def clean_file_name(name: str | None) -> str | None:
    """A name without line breaks, control characters, changes of direction and path separators, of at most 255 bytes;
    None when nothing is left of it."""
    if name is None:
        return None
    kept = "".join("_" if char in "/\\" else char for char in name if unicodedata.category(char) not in _INVISIBLE)
    kept = kept.strip()
    if len(kept.encode()) > MAXIMUM_BYTES:
        stem, dot, extension = kept.rpartition(".")
        ending = dot + extension if stem and len(extension.encode()) <= 16 else ""
        stem = kept.removesuffix(ending) if ending else kept
        kept = stem.encode()[: MAXIMUM_BYTES - len(ending.encode())].decode(errors="ignore") + ending
    return None if kept in ("", ".", "..") else kept


_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def clean_content_type(content_type: str | None) -> str:
    """The type as it was given when it is one, else the type of anything."""
    text = (content_type or "").strip()
    return text if len(text) <= MAXIMUM_BYTES and _TYPE.fullmatch(text) else DEFAULT_TYPE


def content_disposition(content_type: str, file_name: str | None) -> str:
    """`inline` for what no browser takes for a program, else `attachment`; with the file's name if it has one."""
    bare = content_type.partition(";")[0].strip().lower()
    kind = "inline" if bare in INLINE_TYPES else "attachment"
    name = clean_file_name(file_name)
    if name is None:
        return kind
    if name.isascii():
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'{kind}; filename="{quoted}"'
    return f"{kind}; filename*=utf-8''{quote(name, safe='')}"
