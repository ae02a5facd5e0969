"""Identifiers of Matrix as types: parsed at the door, trusted afterwards.

Every `parse_*` returns its argument as the type it names, or raises `InvalidParam` with a sentence. Lengths are counted
in bytes of UTF-8, as the specification does. Spec: appendices, "Identifier Grammar".
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final, NewType

from homeserver.protocol.errors import InvalidParam, InvalidUsername

UserId = NewType("UserId", str)
RoomId = NewType("RoomId", str)
EventId = NewType("EventId", str)
RoomAlias = NewType("RoomAlias", str)
ServerName = NewType("ServerName", str)
DeviceId = NewType("DeviceId", str)

MAX_ID_BYTES: Final = 255

_SERVER_NAME = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]|[0-9A-Za-z.-]{1,255})(?::(?P<port>[0-9]{1,5}))?")
_NEW_LOCALPART = re.compile(r"[a-z0-9._=/+-]+")
_NAMESPACED = re.compile(r"[a-z][a-z0-9._-]{0,254}")
_HASH_ID = re.compile(r"[A-Za-z0-9_-]{43}")
_SURROGATE = re.compile("[\ud800-\udfff]")


@lru_cache(maxsize=4096)
def is_server_name(text: str) -> bool:
    """Whether `text` is a server name: a DNS name, an IPv4 or a bracketed IPv6 literal, with an optional port."""
    match = _SERVER_NAME.fullmatch(text)
    if match is None or len(text) > MAX_ID_BYTES:
        return False
    if match["port"] is not None and int(match["port"]) > 65535:
        return False
    if match["ipv6"] is not None:
        try:
            ipaddress.IPv6Address(match["ipv6"])
        except ValueError:
            return False
    return True


@lru_cache(maxsize=16384)
def is_user_id(text: str) -> bool:
    """Whether `text` is a user id that servers must accept in events.

    "Servers MUST accept user IDs with localparts consisting of any legal non-surrogate Unicode code points except for
    `:` and NUL, including other control characters and the empty string." (Historical User IDs)
    """
    return text[:1] == "@" and _is_localpart_and_domain(text)


def is_compliant_user_id(text: str) -> bool:
    """Whether `text` is a user id that may be shown outside an event: its localpart is U+0021 to U+007E, not empty."""
    return is_user_id(text) and (localpart := localpart_of(text)) != "" and all("!" <= c <= "~" for c in localpart)


def is_hash_id(text: str) -> bool:
    """Whether `text` is a sigil and a SHA-256 in URL-safe unpadded Base64: event ids since v4, room ids since v12."""
    return _HASH_ID.fullmatch(text, 1) is not None


def parse_user_id(text: str) -> UserId:
    """`@localpart:domain`, in the historical grammar. Raises InvalidParam."""
    if not is_user_id(text):
        raise InvalidParam(f"{_shown(text)} is not a user id; expected @localpart:domain of at most 255 bytes")
    return UserId(text)


def parse_room_id(text: str) -> RoomId:
    """`!opaque:domain`, or `!opaque` as in room version 12. Raises InvalidParam."""
    if text[:1] != "!" or not (_is_localpart_and_domain(text) if ":" in text else _is_opaque(text)):
        raise InvalidParam(f"{_shown(text)} is not a room id; expected !opaque or !opaque:domain of at most 255 bytes")
    return RoomId(text)


def parse_event_id(text: str) -> EventId:
    """`$opaque`, whatever the room version. Raises InvalidParam."""
    if text[:1] != "$" or not _is_opaque(text):
        raise InvalidParam(f"{_shown(text)} is not an event id; expected $opaque of at most 255 bytes")
    return EventId(text)


def parse_room_alias(text: str) -> RoomAlias:
    """`#localpart:domain`. Raises InvalidParam."""
    if text[:1] != "#" or not _is_localpart_and_domain(text):
        raise InvalidParam(f"{_shown(text)} is not a room alias; expected #localpart:domain of at most 255 bytes")
    return RoomAlias(text)


def parse_server_name(text: str) -> ServerName:
    """A host name or IP literal with an optional port. Raises InvalidParam."""
    if not is_server_name(text):
        raise InvalidParam(f"{_shown(text)} is not a server name; expected a host name with an optional port")
    return ServerName(text)


def parse_device_id(text: str) -> DeviceId:
    """Any text of 1 to 255 bytes without NUL; the specification leaves device ids opaque. Raises InvalidParam."""
    if not text or _is_too_long(text) or "\0" in text or _SURROGATE.search(text):
        raise InvalidParam(f"{_shown(text)} is not a device id; expected 1 to 255 bytes")
    return DeviceId(text)


def parse_namespaced(text: str) -> str:
    """An identifier in the Common Namespaced Identifier Grammar. Raises InvalidParam."""
    if _NAMESPACED.fullmatch(text) is None:
        raise InvalidParam(f"{_shown(text)} must be 1 to 255 of a-z 0-9 . _ - and begin with a letter")
    return text


def new_user_id(localpart: str, server_name: ServerName) -> UserId:
    """The id of an account about to be made here, in the strict grammar. Raises InvalidUsername."""
    user_id = f"@{localpart}:{server_name}"
    if _NEW_LOCALPART.fullmatch(localpart) is None:
        raise InvalidUsername("A user name may contain only a-z, 0-9 and . _ = - / +, and at least one of them")
    if len(user_id) > MAX_ID_BYTES:
        raise InvalidUsername("The user id would be longer than 255 bytes")
    return UserId(user_id)


def domain_of(identifier: str) -> ServerName:
    """What stands after the first colon; the empty string where an identifier has no domain (event ids since v3)."""
    return ServerName(identifier.partition(":")[2])


def localpart_of(identifier: str) -> str:
    """What stands between the sigil and the first colon."""
    return identifier[1:].partition(":")[0]


def _is_localpart_and_domain(text: str) -> bool:
    localpart, colon, domain = text.partition(":")
    return bool(colon) and is_server_name(domain) and _is_text(localpart) and not _is_too_long(text)


def _is_opaque(text: str) -> bool:
    return len(text) > 1 and _is_text(text) and not _is_too_long(text)


def _is_text(text: str) -> bool:
    return "\0" not in text and (text.isascii() or _SURROGATE.search(text) is None)


def _is_too_long(text: str) -> bool:
    return len(text) > MAX_ID_BYTES or (not text.isascii() and len(text.encode("utf-8", "replace")) > MAX_ID_BYTES)


def _shown(text: str) -> str:
    """`text` as an error message may quote it: short and printable."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")
