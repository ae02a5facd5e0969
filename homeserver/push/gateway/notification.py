"""A notification as homeservers send it, parsed strictly where it matters and leniently where apps only show it.

Spec: Push Gateway API, `POST /_matrix/push/v1/notify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from homeserver.protocol.errors import BadJson

MAX_DEVICES = 100


class Counts(msgspec.Struct):
    """How much is unread; None where it is not told."""

    unread: int | None = None
    missed_calls: int | None = None


class Device(msgspec.Struct):
    """Whom to tell. `data` is what the app gave when it made its pusher."""

    app_id: str
    pushkey: str
    data: dict[str, Any] = {}
    tweaks: dict[str, Any] = {}
    pushkey_ts: int = 0


class Notification(msgspec.Struct):
    """What to tell."""

    devices: list[Device]
    event_id: str | None = None
    room_id: str | None = None
    type: str | None = None
    sender: str | None = None
    sender_display_name: str | None = None
    room_name: str | None = None
    room_alias: str | None = None
    membership: str | None = None
    user_is_target: bool | None = None
    prio: str | None = None
    content: dict[str, Any] | None = None
    counts: Counts = msgspec.field(default_factory=Counts)

    @property
    def is_urgent(self) -> bool:
        """Spec, of `prio`: "If omitted, `high` is assumed"."""
        return self.prio != "low"


def parse_notification(notification: Mapping[str, Any]) -> Notification:
    """Raises BadJson. A member that is null counts as left out."""
    told = _without_nulls(notification)
    if isinstance(told.get("counts"), dict):
        told["counts"] = _without_nulls(told["counts"])
    if isinstance(told.get("devices"), list):
        told["devices"] = [_without_nulls(one) if isinstance(one, dict) else one for one in told["devices"]]
    try:
        parsed = msgspec.convert(told, Notification)
    except msgspec.ValidationError as error:
        raise BadJson(f"The notification is not one: {error}") from None
    if not parsed.devices or len(parsed.devices) > MAX_DEVICES:
        raise BadJson(f"A notification is for at least one device and at most {MAX_DEVICES}.")
    return parsed


def _without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: member for name, member in value.items() if member is not None}


class Refused(Exception):
    """The provider knows this pushkey no more: no notification will ever reach it."""


class Dropped(Exception):
    """This notification cannot be delivered, and trying again would not help; others may be."""


class Unreachable(Exception):
    """The provider does not take it now. `retry_after` in seconds, where it said when to come back; `is_for_all`: nor
    anything else of this app."""

    def __init__(self, reason: str, retry_after: float | None = None, *, is_for_all: bool = True) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.is_for_all = is_for_all


def shorten(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, never half a character; an ellipsis shows what is missing."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    return raw[: max(limit - 3, 0)].decode("utf-8", "ignore") + "…"
