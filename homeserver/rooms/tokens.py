"""Tokens for places in the stream, opaque to clients: what /sync gives, /messages and its like take.

`s<position>_<typing>`: everything up to and including `position` lies before the token; `typing` is the place among
what is not stored (typing), which begins anew with each start of the server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from homeserver.protocol.errors import InvalidParam

_FORM = re.compile(r"s(-?\d{1,18})(?:_(\d{1,18}))?(?:_(\d{1,18}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class StreamToken:
    """A place in the stream."""

    position: int
    typing: int = 0

    @classmethod
    def parse(cls, text: str) -> StreamToken:
        """Raises InvalidParam for what this server never gave."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise InvalidParam("The token is not one of this server's")
        return cls(int(found[1]), int(found[2] or 0))

    def __str__(self) -> str:
        return f"s{self.position}_{self.typing}"


def place_before(position: int) -> str:
    """The token just before the event at `position`, from which it is the next one forwards."""
    return f"s{position - 1}_0"


def place_after(position: int) -> str:
    """The token just after the event at `position`, from which it is the next one backwards."""
    return f"s{position}_0"
