"""Sticky events: those that every member is told of for a while, whatever else happens in the room (MSC4354)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

STICKY_FIELD: Final = "msc4354_sticky"
"""The member of an event, beside `content`, that makes it sticky."""
MAX_DURATION_MS: Final = 3_600_000
"""Longer ones count as this."""


def sticky_expiry(pdu: Mapping[str, Any], received_ms: int) -> int | None:
    """When an event stops to be sticky, in milliseconds since the epoch; None for one that never was.

    `received_ms`: when this server got it, so that a sender who claims a later time gains nothing by it.
    """
    sticky = pdu.get(STICKY_FIELD)
    duration = sticky.get("duration_ms") if isinstance(sticky, dict) else None
    if not isinstance(duration, int) or isinstance(duration, bool) or duration < 0:
        return None
    return min(int(pdu["origin_server_ts"]), received_ms) + min(duration, MAX_DURATION_MS)
