"""The two parts of an mxc:// address, as others sent them (row E01 of the known attacks)."""

from __future__ import annotations

import re
import secrets

from homeserver.protocol.errors import NotFound
from homeserver.protocol.identifiers import is_server_name

_MEDIA_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")


def check_address(server_name: str, media_id: str) -> None:
    """Raises NotFound. "The media-id segment MUST consist of only alphanumeric, _ and - characters"."""
    if not is_server_name(server_name) or not _MEDIA_ID.fullmatch(media_id):
        raise NotFound("That is not the address of any media.")


def new_media_id() -> str:
    """Nobody can guess it."""
    return secrets.token_urlsafe(24)
