"""The rules of authorisation for m.room.power_levels: nobody gives, takes or touches more power than they have.

Each function is a numbered rule, its comment the specification's sentence; `power_levels_rules` puts them in the order,
and so under the numbers, of a room version.
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.authorization_facts import POWER_LEVELS, Facts, Group, Rule, otherwise_allow, reject
from homeserver.protocol.identifiers import is_user_id
from homeserver.protocol.power_levels import parse_level
from homeserver.protocol.room_versions import RoomVersion

_PROPERTIES = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")


def power_levels_rules(version: RoomVersion) -> Group:
    """The rule "If type is m.room.power_levels" of a room version."""
    rules: list[Rule] = []
    if version.integer_power_levels:
        rules += [properties_are_integers, events_and_notifications_are_integers]
    rules.append(users_are_levels_by_user)
    if version.privileged_creators:
        rules.append(creators_are_not_listed)
    rules += [
        first_levels_are_free,
        properties_within_power,
        old_event_levels_within_power,
        new_event_levels_within_power,
        old_user_levels_below_power,
        new_user_levels_within_power,
        otherwise_allow,
    ]
    return Group(*rules, condition=_is_power_levels_event)


def _is_power_levels_event(facts: Facts) -> bool:
    return facts.event.type == "m.room.power_levels"


def properties_are_integers(facts: Facts) -> bool:
    # If any of the properties `users_default`, `events_default`, `state_default`, `ban`, `redact`, `kick`, or
    # `invite` in `content` are present and not an integer, reject. (v10)
    content = facts.event.content
    for name in _PROPERTIES:
        if name in content and type(content[name]) is not int:
            raise reject(f"The power level `{name}` must be an integer")
    return False


def events_and_notifications_are_integers(facts: Facts) -> bool:
    # If either of the properties `events` or `notifications` in `content` are present and not an object with values
    # that are integers, reject. (v10)
    for name in ("events", "notifications"):
        if name in facts.event.content:
            entries = facts.event.content[name]
            if not isinstance(entries, dict) or not all(type(level) is int for level in entries.values()):
                raise reject(f"The power levels of `{name}` must be an object of integers")
    return False


def users_are_levels_by_user(facts: Facts) -> bool:
    # If the `users` property in `content` is not an object with keys that are valid user IDs with values that are
    # integers (or a string that is an integer), reject. (v10: without the words in parentheses) Absent is allowed:
    # the property is optional.
    if "users" not in facts.event.content:
        return False
    users = facts.event.content["users"]
    strict = facts.version.integer_power_levels
    if not isinstance(users, dict) or not all(
        is_user_id(user) and parse_level(level, integers_only=strict) is not None for user, level in users.items()
    ):
        raise reject("The power levels of `users` must be an object of integers by user id")
    return False


def creators_are_not_listed(facts: Facts) -> bool:
    # If the `users` property in `content` contains the `sender` of the `m.room.create` event or any of the
    # `additional_creators` array (if present) from the `content` of the `m.room.create` event, reject. (v12)
    users = facts.event.content.get("users")
    if isinstance(users, dict) and not facts.levels.creators.isdisjoint(users):
        raise reject("The power of the room's creators cannot be set: it is infinite")
    return False


def first_levels_are_free(facts: Facts) -> bool:
    # If there is no previous `m.room.power_levels` event in the room, allow.
    return POWER_LEVELS not in facts.state


def properties_within_power(facts: Facts) -> bool:
    # For the properties `users_default`, `events_default`, `state_default`, `ban`, `redact`, `kick`, `invite` check
    # if they were added, changed or removed. For each found alteration: 1. If the current value is higher than the
    # `sender`'s current power level, reject. 2. If the new value is higher than the `sender`'s current power level,
    # reject.
    power = facts.levels.of(facts.sender)
    old, new = _old(facts), facts.event.content
    for name in _PROPERTIES:
        before = _level(facts, old, name)
        after = _new_level(facts, new, name)
        if before == after:
            continue
        if before is not None and before > power:
            raise _numbered("1", f"You do not have the power to change `{name}`")
        if after is not None and after > power:
            raise _numbered("2", f"You cannot raise `{name}` above your own power")
    return False


def old_event_levels_within_power(facts: Facts) -> bool:
    # For each entry being changed in, or removed from, the `events` (v6: "or `notifications`") properties: 1. If the
    # current value is greater than the `sender`'s current power level, reject.
    power = facts.levels.of(facts.sender)
    for name in _maps(facts):
        for key, before, after in _changes(facts, name):
            if before is not None and before > power:
                raise _numbered("1", f"You do not have the power to change the level of {_shown(key)} in `{name}`")
            del after
    return False


def new_event_levels_within_power(facts: Facts) -> bool:
    # For each entry being added to, or changed in, the `events` (v6: "or `notifications`") properties: 1. If the new
    # value is greater than the `sender`'s current power level, reject.
    power = facts.levels.of(facts.sender)
    for name in _maps(facts):
        for key, _, after in _changes(facts, name):
            if after is not None and after > power:
                raise _numbered("1", f"You cannot raise the level of {_shown(key)} in `{name}` above your own power")
    return False


def old_user_levels_below_power(facts: Facts) -> bool:
    # For each entry being changed in, or removed from, the `users` property, other than the `sender`'s own entry: 1. If
    # the current value is greater than or equal to the `sender`'s current power level, reject.
    power = facts.levels.of(facts.sender)
    for user, before, _ in _changes(facts, "users"):
        if user != facts.sender and before is not None and before >= power:
            raise _numbered("1", f"You do not have the power to change the power of {_shown(user)}")
    return False


def new_user_levels_within_power(facts: Facts) -> bool:
    # For each entry being added to, or changed in, the `users` property: 1. If the new value is greater than the
    # `sender`'s current power level, reject.
    power = facts.levels.of(facts.sender)
    for user, _, after in _changes(facts, "users"):
        if after is not None and after > power:
            raise _numbered("1", f"You cannot give {_shown(user)} more power than you have")
    return False


def _maps(facts: Facts) -> tuple[str, ...]:
    return ("events", "notifications") if facts.version.checks_notification_levels else ("events",)


def _old(facts: Facts) -> dict[str, Any]:
    return facts.state[POWER_LEVELS].content


def _level(facts: Facts, levels: dict[str, Any], key: str) -> int | None:
    return parse_level(levels.get(key), integers_only=facts.version.integer_power_levels)


def _new_level(facts: Facts, levels: dict[str, Any], key: str) -> int | None:
    """As `_level`, but what is there and means no level is rejected: up to v9 no rule before this one has looked."""
    if key not in levels:
        return None
    level = _level(facts, levels, key)
    if level is None:
        raise reject(f"The power level of {_shown(key)} must be an integer")
    return level


def _changes(facts: Facts, name: str) -> list[tuple[str, int | None, int | None]]:
    """(key, level before, level after) of each entry of a map that differs; None where there is no entry."""
    old = _old(facts).get(name)
    new = facts.event.content.get(name, {})
    if not isinstance(new, dict):
        raise reject(f"The power levels of `{name}` must be an object")
    if not isinstance(old, dict):
        old = {}
    if old == new:
        return []
    changes = [(key, _level(facts, old, key), _new_level(facts, new, key)) for key in {**old, **new}]
    return [change for change in changes if change[1] != change[2]]


def _numbered(number: str, message: str) -> Exception:
    rejection = reject(message)
    rejection.rule = number
    return rejection


def _shown(key: str) -> str:
    return ascii(key if len(key) <= 80 else key[:77] + "...")
