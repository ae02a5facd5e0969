"""Power levels: who may do what in a room. Spec: m.room.power_levels and, for v12, "room creators"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from homeserver.protocol.events import Event

Level: TypeAlias = int | float
"""A power level: an integer, or `INFINITE` for the creators of a v12 room. Never another float."""

INFINITE: Final = math.inf
"""The level of room creators since v12. Greater than every integer, equal to itself."""

# "a single base 10 integer ... optionally prefixed with a single - or + ... leading or trailing whitespace characters"
_STRINGY = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
_MAX_STRINGY: Final = 100


def parse_level(value: object, *, integers_only: bool) -> int | None:
    """The level that a value in m.room.power_levels means, or None when it means none.

    Since v10 only JSON integers count (`integers_only`); before, also strings of one, and floats, which are truncated.
    """
    if type(value) is int:
        return value
    if integers_only:
        return None
    if type(value) is str:
        if len(value) > _MAX_STRINGY or _STRINGY.fullmatch(value) is None:
            return None
        return int(value)
    if type(value) is float and math.isfinite(value):
        return int(value)
    return None


class PowerLevels:
    """The power levels in force: of a create event and of the m.room.power_levels event of the same state, if any.

    Values that are not levels count as absent (the authorisation rules let none in). Make them with `power_levels_of`,
    which remembers what it has made.
    """

    __slots__ = (
        "_events",
        "_notifications",
        "_users",
        "ban",
        "creators",
        "events_default",
        "invite",
        "kick",
        "redact",
        "state_default",
        "users_default",
    )

    creators: frozenset[str]
    """Who has infinite power: since v12, the sender of the create event and its `additional_creators`."""
    ban: int
    kick: int
    redact: int
    invite: int
    events_default: int
    state_default: int
    users_default: int

    def __init__(self, create: Event | None, power_levels: Event | None) -> None:
        self.creators = privileged_creators_of(create) if create is not None else frozenset()
        content: Mapping[str, Any] = power_levels.content if power_levels is not None else {}
        strict = power_levels is not None and power_levels.room_version.integer_power_levels

        def level(name: str, default: int) -> int:
            parsed = parse_level(content.get(name), integers_only=strict)
            return default if parsed is None else parsed

        def levels(name: str) -> dict[str, int]:
            entries = content.get(name)
            if not isinstance(entries, dict):
                return {}
            parsed = {key: parse_level(value, integers_only=strict) for key, value in entries.items()}
            return {key: value for key, value in parsed.items() if value is not None}

        # "The invite level defaults to 0 if unspecified. The kick, ban and redact level each default to 50."
        self.ban = level("ban", 50)
        self.kick = level("kick", 50)
        self.redact = level("redact", 50)
        self.invite = level("invite", 0)
        self.events_default = level("events_default", 0)
        # "If there is no state_default in the m.room.power_levels event, or there is no m.room.power_levels event, the
        # state_default is 50."
        self.state_default = level("state_default", 50)
        self.users_default = level("users_default", 0)
        self._events = levels("events")
        self._users = levels("users")
        self._notifications = levels("notifications")
        if power_levels is None and create is not None and not create.room_version.privileged_creators:
            # "If the room contains no m.room.power_levels event, the room's creator has a power level of 100."
            creator = creator_of(create)
            if creator is not None:
                self._users = {creator: 100}

    def of(self, user_id: str) -> Level:
        """The power of a user: `INFINITE` for creators since v12."""
        if user_id in self.creators:
            return INFINITE
        return self._users.get(user_id, self.users_default)

    def needed_for(self, event_type: str, is_state: bool) -> int:
        """The required power level of an event type: "either listed explicitly in the `events` section or given by
        either `state_default` or `events_default`"."""
        level = self._events.get(event_type)
        if level is not None:
            return level
        return self.state_default if is_state else self.events_default

    def notifications(self, key: str) -> int:
        """The level needed to notify everybody with e.g. `@room` (key "room"): 50 if unspecified."""
        return self._notifications.get(key, 50)

    def may_send(self, user_id: str, event_type: str, is_state: bool) -> bool:
        """Whether the user has the required power level (membership is not asked)."""
        return self.of(user_id) >= self.needed_for(event_type, is_state)

    @property
    def users(self) -> Mapping[str, int]:
        """The users whose level is said explicitly; in v12, without the creators."""
        return self._users


def power_levels_of(create: Event | None, power_levels: Event | None) -> PowerLevels:
    """The PowerLevels of two events of one state, computed once and remembered on the event.

    Remembered on the object and not by event id, because in v1 and v2 anybody can give two events the same id.
    """
    holder = power_levels or create
    if holder is None:
        return PowerLevels(None, None)
    made_with = create if power_levels is not None else None
    remembered = holder._power_levels
    if remembered is not None and remembered[0] is made_with:
        return remembered[1]
    levels = PowerLevels(create, power_levels)
    holder._power_levels = (made_with, levels)
    return levels


def creator_of(create: Event) -> str | None:
    """Who created the room: `content.creator` up to v10 (None where that is no string), the sender since v11."""
    if create.room_version.creator_is_sender:
        return create.sender
    creator = create.content.get("creator")
    return creator if isinstance(creator, str) else None


def privileged_creators_of(create: Event) -> frozenset[str]:
    """The room creators in the sense of v12; nobody in earlier versions.

    "The user ID denoted by the `sender` of the `m.room.create` event in the room. Any user IDs contained in the
    `additional_creators` array in `content` of the `m.room.create` event in the room."
    """
    if not create.room_version.privileged_creators:
        return frozenset()
    additional = create.content.get("additional_creators")
    others = additional if isinstance(additional, list) else []
    return frozenset([create.sender, *(user for user in others if isinstance(user, str))])
