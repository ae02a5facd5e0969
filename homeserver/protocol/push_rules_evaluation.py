"""What an event means to a user: conditions compiled once, an event flattened once, then one walk down the rules.

`compile_rules` gives one `CompiledRules` for all users with equal rules; what differs between users (their ID and
display name) is an argument of `evaluate`. What differs between events, but not between the members of a room (the
number of members, the power levels), is given to `EventForPush`, which is made once an event.

Spec (v1.19): Client-Server API, "Push Rules" and "Conditions".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from homeserver.protocol.events import Event
from homeserver.protocol.globs import GlobText, fold_case, glob
from homeserver.protocol.power_levels import PowerLevels
from homeserver.protocol.property_paths import parse_path, property_at
from homeserver.protocol.push_rules import KINDS, Action, PushRule, UserRules
from homeserver.protocol.push_rules_defaults import THREAD_SUBSCRIPTION, USER_ID

_BODY: Final = ("content", "body")

MATCHING_BUDGET: Final = 5_000_000
"""Conditions of a user's own times characters that they look at, for one event (D07).

With up to 76 conditions a body of 64 KiB is matched whole; whoever has 10,000 gets the first 500 characters matched.
"""


SHARED_RULESETS: Final = 8
"""Of so many rulesets an event remembers what is left of them: most users have the same few."""


class EventForPush:
    """One event as the conditions see it. Make it once, and evaluate it for all members of the room.

    `member_count`: joined members of the room. `levels`: its power levels.
    """

    __slots__ = ("_heads", "_texts", "_values", "event", "levels", "matching", "member_count", "sender")

    def __init__(self, event: Event, *, member_count: int, levels: PowerLevels) -> None:
        self.event = event
        self.sender = event.sender
        self.member_count = member_count
        self.levels = levels
        # The parts that events of some room versions do not carry in their own JSON.
        self._values: dict[tuple[str, ...], Any] = {("event_id",): event.event_id, ("room_id",): event.room_id}
        self._texts: dict[tuple[str, ...], GlobText | None] = {}
        self._heads: dict[int, GlobText] = {}
        self.matching: dict[CompiledRules, list[_Rule]] = {}
        """What is left of a ruleset when only this event is meant: worked out by the first of its users."""

    def value(self, path: tuple[str, ...]) -> Any:
        """The property at `path`, or MISSING."""
        try:
            return self._values[path]
        except KeyError:
            value = self._values[path] = property_at(self.event.pdu, path)
            return value

    def text(self, path: tuple[str, ...]) -> GlobText | None:
        """The property at `path`, if it is a string, ready to be matched."""
        try:
            return self._texts[path]
        except KeyError:
            value = self.value(path)
            text = self._texts[path] = GlobText(fold_case(value)) if isinstance(value, str) else None
            return text

    def body(self, limit: int) -> GlobText | None:
        """The first `limit` characters of `content.body`, if that is a string."""
        text = self.text(_BODY)
        if text is None or len(text.text) <= limit:
            return text
        head = self._heads.get(limit)
        if head is None:
            head = self._heads[limit] = GlobText(text.text[:limit])
        return head


Condition = Callable[[EventForPush, str, str | None], bool]
"""Takes the event, the user's ID and the user's display name in the room."""


def _never(event: EventForPush, user_id: str, display_name: str | None) -> bool:
    return False


def _event_match(key: str, pattern: str, limit: int) -> Condition:
    path = parse_path(key)
    compiled = glob(pattern)
    if path == _BODY:

        def body_matches(event: EventForPush, user_id: str, display_name: str | None) -> bool:
            text = event.body(limit)
            return text is not None and compiled.matches_words(text)

        return body_matches
    if not compiled.is_literal:

        def matches(event: EventForPush, user_id: str, display_name: str | None) -> bool:
            text = event.text(path)
            return text is not None and len(text.text) <= limit and compiled.matches(text)

        return matches
    literal = compiled.pattern

    def equals(event: EventForPush, user_id: str, display_name: str | None) -> bool:
        text = event.text(path)
        return text is not None and text.text == literal

    return equals


def _same(value: Any, expected: Any) -> bool:
    # In Python, True == 1 and 1 == 1.0; in JSON they differ ("do not cast types").
    return type(value) is type(expected) and bool(value == expected)


def _event_property_is(key: str, expected: Any) -> Condition:
    path = parse_path(key)

    def is_value(event: EventForPush, user_id: str, display_name: str | None) -> bool:
        return _same(event.value(path), expected)

    return is_value


def _event_property_contains(key: str, expected: Any) -> Condition:
    path = parse_path(key)

    def contains(event: EventForPush, user_id: str, display_name: str | None) -> bool:
        value = event.value(path)
        if not isinstance(value, list):
            return False
        return any(_same(item, expected) for item in value)

    return contains


def _is_user(key: str) -> Condition:
    path = parse_path(key)

    def is_user(event: EventForPush, user_id: str, display_name: str | None) -> bool:
        return bool(event.value(path) == user_id)

    return is_user


def _contains_user(key: str) -> Condition:
    path = parse_path(key)

    def contains_user(event: EventForPush, user_id: str, display_name: str | None) -> bool:
        value = event.value(path)
        return isinstance(value, list) and user_id in value

    return contains_user


def _contains_display_name(limit: int) -> Condition:
    def contains_name(event: EventForPush, user_id: str, display_name: str | None) -> bool:
        text = event.body(limit)
        return text is not None and bool(display_name) and text.contains_word(fold_case(display_name or ""))

    return contains_name


_COMPARISONS: Final[dict[str, Callable[[int, int], bool]]] = {
    "": int.__eq__,
    "==": int.__eq__,
    "<": int.__lt__,
    ">": int.__gt__,
    "<=": int.__le__,
    ">=": int.__ge__,
}


def _room_member_count(bound: str) -> Condition:
    match = re.fullmatch(r"(==|<=|>=|<|>)?([0-9]{1,18})", bound)
    if match is None:
        return _never
    compare, number = _COMPARISONS[match[1] or ""], int(match[2])

    def counts(event: EventForPush, user_id: str, display_name: str | None) -> bool:
        return compare(event.member_count, number)

    return counts


def _sender_notification_permission(key: str) -> Condition:
    def permits(event: EventForPush, user_id: str, display_name: str | None) -> bool:
        return event.levels.of(event.sender) >= event.levels.notifications(key)

    return permits


def _is_personal(condition: Any, *, default: bool) -> bool:
    """Whether a condition may hold for one user and not for another one with the same rules."""
    match condition:
        case {"kind": "contains_display_name"}:
            return True
        case {"kind": "event_match", "pattern": value} | {"kind": "event_property_contains", "value": value}:
            return default and bool(value == USER_ID)
    return False


def _compile_condition(condition: Any, limit: int, *, default: bool) -> Condition:
    """`default`: whether the rule is a default one, which may speak of the user without knowing their ID.

    "Unrecognised conditions MUST NOT match any events, effectively making the push rule disabled."
    """
    match condition:
        case {"kind": "event_match", "key": str(key), "pattern": pattern} if default and pattern == USER_ID:
            return _is_user(key)
        case {"kind": "event_property_contains", "key": str(key), "value": value} if default and value == USER_ID:
            return _contains_user(key)
        case {"kind": "event_match", "key": str(key), "pattern": str(pattern)}:
            return _event_match(key, pattern, limit)
        case {"kind": "event_property_is", "key": str(key), "value": str() | int() | None as value}:
            return _event_property_is(key, value)
        case {"kind": "event_property_contains", "key": str(key), "value": str() | int() | None as value}:
            return _event_property_contains(key, value)
        case {"kind": "contains_display_name"}:
            return _contains_display_name(limit)
        case {"kind": "room_member_count", "is": str(bound)}:
            return _room_member_count(bound)
        case {"kind": "sender_notification_permission", "key": str(key)}:
            return _sender_notification_permission(key)
    return _never


def _conditions_json(rule: PushRule) -> list[Any]:
    match rule.kind:
        case "content":
            return [{"kind": "event_match", "key": "content.body", "pattern": rule.pattern}]
        case "room":
            return [{"kind": "event_property_is", "key": "room_id", "value": rule.rule_id}]
        case "sender":
            return [{"kind": "event_property_is", "key": "sender", "value": rule.rule_id}]
    conditions: list[Any] = json.loads(rule.conditions_json)
    return conditions


def _is_about_threads(condition: Any) -> bool:
    return (
        isinstance(condition, dict)
        and condition.get("kind") == THREAD_SUBSCRIPTION
        and isinstance(condition.get("subscribed"), bool)
    )


class _Rule(NamedTuple):
    """A compiled rule. `thread`: what `follows` may be, or nothing where that is no question."""

    general: tuple[Condition, ...]
    personal: tuple[Condition, ...]
    actions: tuple[Action, ...]
    rule: PushRule
    thread: frozenset[bool]


class CompiledRules:
    """A whole ruleset, ready to be evaluated for any user who has it."""

    __slots__ = ("_rules",)

    def __init__(self, rules: UserRules) -> None:
        enabled = [rule for kind in KINDS for rule in rules.ordered(kind) if rule.enabled]
        conditions = [_conditions_json(rule) for rule in enabled]
        own = sum(len(each) for rule, each in zip(enabled, conditions, strict=True) if not rule.default)
        limit = MATCHING_BUDGET // max(own, 1)
        self._rules: list[_Rule] = []
        for rule, each in zip(enabled, conditions, strict=True):
            general: list[Condition] = []
            personal: list[Condition] = []
            for condition in each:
                if not _is_about_threads(condition):
                    kind = personal if _is_personal(condition, default=rule.default) else general
                    kind.append(_compile_condition(condition, limit, default=rule.default))
            thread = frozenset(bool(condition["subscribed"]) for condition in each if _is_about_threads(condition))
            self._rules.append(_Rule(tuple(general), tuple(personal), tuple(rule.actions), rule, thread))

    def evaluate(
        self, event: EventForPush, user_id: str, display_name: str | None = None, follows: bool | None = None
    ) -> tuple[Action, ...] | None:
        """The actions of the most important rule that matches; None if none does, or the event is the user's own.

        An empty tuple is a rule that says not to notify. Callers must not change the actions.
        `follows`: whether the user follows the thread that the event is in; None where that is no question (MSC4306).
        "Homeservers MUST NOT notify the Push Gateway for events that the user has sent themselves."
        """
        found = self._find(event, user_id, display_name, follows)
        return None if found is None else found.actions

    def matching_rule(
        self, event: EventForPush, user_id: str, display_name: str | None = None, follows: bool | None = None
    ) -> PushRule | None:
        """Like `evaluate`, but says which rule it was."""
        found = self._find(event, user_id, display_name, follows)
        return None if found is None else found.rule

    def _find(self, event: EventForPush, user_id: str, display_name: str | None, follows: bool | None) -> _Rule | None:
        if event.sender == user_id:
            return None
        rules = event.matching.get(self)
        if rules is None:
            rules = self._matching(event)
            if len(event.matching) < SHARED_RULESETS:
                event.matching[self] = rules
        for rule in rules:
            if rule.thread and rule.thread != {follows}:
                continue
            for condition in rule.personal:
                if not condition(event, user_id, display_name):
                    break
            else:
                return rule
        return None

    def _matching(self, event: EventForPush) -> list[_Rule]:
        """The rules that match the event for some of the users, down to the first that does for all."""
        found: list[_Rule] = []
        for rule in self._rules:
            if all(condition(event, "", None) for condition in rule.general):
                found.append(rule)
                if not rule.personal and not rule.thread:
                    break
        return found


@lru_cache(maxsize=1024)
def compile_rules(rules: UserRules) -> CompiledRules:
    """The compiled ruleset; equal rules share one."""
    return CompiledRules(rules)
