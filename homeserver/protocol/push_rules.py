"""Push rules: a user's own rules and changes to the default ones, their order, and what an event makes of them.

`UserRules` is the user's part only (an immutable value, empty for nearly everybody); the whole ruleset is that and the
defaults. Two users with the same changes have equal `UserRules` and share one `CompiledRules`
(`push_rules_evaluation.py`). What a client may put is checked in `push_rules_validation.py`.

Spec (v1.19): Client-Server API, "Push Notifications" and "Push Rules: API".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Final, Literal

from homeserver.protocol.errors import InvalidParam, NotFound, TooLarge, Unknown
from homeserver.protocol.push_rules_defaults import (
    DEFAULT_OVERRIDE,
    DEFAULT_POSTCONTENT,
    DEFAULT_UNDERRIDE,
    MASTER_RULE,
    USER_ID,
)

RuleKind = Literal["override", "content", "postcontent", "room", "sender", "underride"]
Action = str | dict[str, Any]

KINDS: Final[tuple[RuleKind, ...]] = ("override", "content", "postcontent", "room", "sender", "underride")
"""The kinds of rules in the order in which they are checked."""

MAX_RULES: Final = 10_000
"""Rules of their own that one user may have (D07)."""


def compact_json(value: Any) -> str:
    """The one text of a JSON value, by which rules are compared, stored and measured."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


@dataclass(frozen=True, slots=True)
class PushRule:
    """One rule. Actions and conditions are kept as compact JSON text, so that rules are values that can be hashed."""

    kind: RuleKind
    rule_id: str
    actions_json: str
    conditions_json: str = "[]"
    pattern: str | None = None
    enabled: bool = True
    default: bool = False

    @property
    def actions(self) -> list[Action]:
        actions: list[Action] = json.loads(self.actions_json)
        return actions

    def as_json(self, user_id: str) -> dict[str, Any]:
        """The rule as the client sees it, with the user's own ID where a default rule speaks of it."""
        rule: dict[str, Any] = {
            "rule_id": self.rule_id,
            "default": self.default,
            "enabled": self.enabled,
            "actions": self.actions,
        }
        if self.kind in ("override", "postcontent", "underride"):
            conditions: list[dict[str, Any]] = json.loads(self.conditions_json)
            if self.default:
                conditions = [
                    {name: user_id if value == USER_ID else value for name, value in condition.items()}
                    for condition in conditions
                ]
            rule["conditions"] = conditions
        elif self.kind == "content":
            rule["pattern"] = self.pattern
        return rule


def _default_rules(kind: RuleKind, rows: Sequence[tuple[str, list[Any], list[Any]]]) -> tuple[PushRule, ...]:
    return tuple(
        PushRule(
            kind,
            rule_id,
            compact_json(actions),
            compact_json(conditions),
            enabled=rule_id != MASTER_RULE,
            default=True,
        )
        for rule_id, conditions, actions in rows
    )


DEFAULT_RULES: Final[dict[RuleKind, tuple[PushRule, ...]]] = {
    "override": _default_rules("override", DEFAULT_OVERRIDE),
    "content": (),
    "postcontent": _default_rules("postcontent", DEFAULT_POSTCONTENT),
    "room": (),
    "sender": (),
    "underride": _default_rules("underride", DEFAULT_UNDERRIDE),
}


@dataclass(frozen=True, slots=True)
class DefaultChange:
    """What a user changed of a default rule; None is unchanged."""

    rule_id: str
    enabled: bool | None = None
    actions_json: str | None = None


@dataclass(frozen=True)
class UserRules:
    """The user's own rules, the most important first within each kind, and their changes to the default rules."""

    custom: tuple[PushRule, ...] = ()
    changes: tuple[DefaultChange, ...] = ()

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.custom, self.changes))

    def to_json(self) -> str:
        """The stored text. `from_json` gives the equal value back."""
        return compact_json(
            {
                "custom": [
                    [rule.kind, rule.rule_id, rule.actions_json, rule.conditions_json, rule.pattern, rule.enabled]
                    for rule in self.custom
                ],
                "changes": [[change.rule_id, change.enabled, change.actions_json] for change in self.changes],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> UserRules:
        stored = json.loads(text)
        return cls(
            tuple(PushRule(*row) for row in stored["custom"]),
            tuple(DefaultChange(*row) for row in stored["changes"]),
        )

    def ordered(self, kind: RuleKind) -> list[PushRule]:
        """All rules of a kind, the most important first: the master rule, the user's own, the other defaults."""
        changes = {change.rule_id: change for change in self.changes}
        defaults = [_changed(rule, changes.get(rule.rule_id)) for rule in DEFAULT_RULES[kind]]
        own = [rule for rule in self.custom if rule.kind == kind]
        masters = [rule for rule in defaults if rule.rule_id == MASTER_RULE]
        return masters + own + [rule for rule in defaults if rule.rule_id != MASTER_RULE]

    def find(self, kind: RuleKind, rule_id: str) -> PushRule | None:
        """The rule as it now is, default or own."""
        return next((rule for rule in self.ordered(kind) if rule.rule_id == rule_id), None)

    def get(self, kind: RuleKind, rule_id: str) -> PushRule:
        """Like `find`. Raises NotFound."""
        rule = self.find(kind, rule_id)
        if rule is None:
            raise NotFound(f"There is no {kind} push rule with the ID {rule_id!r}.")
        return rule

    def ruleset(self, user_id: str) -> dict[str, list[dict[str, Any]]]:
        """The `global` ruleset as `GET /pushrules/` and the `m.push_rules` event show it."""
        return {kind: [rule.as_json(user_id) for rule in self.ordered(kind)] for kind in KINDS}

    def with_rule(self, rule: PushRule, *, before: str | None = None, after: str | None = None) -> UserRules:
        """Add or update a rule of the user's own.

        "If neither after nor before are provided and the rule is created, it should be added as the most important user
        defined rule among rules of the same kind." An updated rule keeps its place, and stays disabled if it was.
        `before`: next more important than that rule; `after`: next less important; with both, `before` counts.

        Raises Unknown where the named neighbour is not a rule of the user's own, TooLarge beyond MAX_RULES.
        """
        own = list(self.custom)
        place = next((n for n, old in enumerate(own) if (old.kind, old.rule_id) == (rule.kind, rule.rule_id)), None)
        if place is None and len(own) >= MAX_RULES:
            raise TooLarge(f"You have {len(own)} push rules, which is as many as there may be; remove some first.")
        if place is not None:
            rule = replace(rule, enabled=own.pop(place).enabled)
        neighbour = before if before is not None else after
        if neighbour is not None:
            place = next((n for n, old in enumerate(own) if (old.kind, old.rule_id) == (rule.kind, neighbour)), None)
            if place is None:
                raise Unknown(f"before/after rule not found: {neighbour}")
            if before is None:
                place += 1
        own.insert(place or 0, rule)
        return replace(self, custom=tuple(own))

    def without_rule(self, kind: RuleKind, rule_id: str) -> UserRules:
        """Remove a rule of the user's own. Raises NotFound; InvalidParam for a default rule, which may be disabled."""
        if self.get(kind, rule_id).default:
            raise InvalidParam("A server-default push rule cannot be deleted; disable it instead.")
        kept = tuple(rule for rule in self.custom if (rule.kind, rule.rule_id) != (kind, rule_id))
        return replace(self, custom=kept)

    def with_enabled(self, kind: RuleKind, rule_id: str, enabled: bool) -> UserRules:
        """Enable or disable a rule, default or own. Raises NotFound."""
        return self._with_change(kind, rule_id, enabled=enabled, actions_json=None)

    def with_actions(self, kind: RuleKind, rule_id: str, actions: Sequence[Action]) -> UserRules:
        """Replace the actions of a rule, default or own. Raises NotFound. The actions must have been validated."""
        return self._with_change(kind, rule_id, enabled=None, actions_json=compact_json(list(actions)))

    def _with_change(
        self, kind: RuleKind, rule_id: str, *, enabled: bool | None, actions_json: str | None
    ) -> UserRules:
        change = DefaultChange(rule_id, enabled, actions_json)
        if self.get(kind, rule_id).default:
            old = next((other for other in self.changes if other.rule_id == rule_id), DefaultChange(rule_id))
            merged = DefaultChange(
                rule_id,
                old.enabled if enabled is None else enabled,
                old.actions_json if actions_json is None else actions_json,
            )
            others = [other for other in self.changes if other.rule_id != rule_id]
            # Sorted, so that the same changes made in another order are the same value.
            return replace(self, changes=tuple(sorted([*others, merged], key=lambda other: other.rule_id)))
        custom = tuple(
            _changed(rule, change) if (rule.kind, rule.rule_id) == (kind, rule_id) else rule for rule in self.custom
        )
        return replace(self, custom=custom)


NO_CHANGES: Final = UserRules()
"""The rules of a user who never touched them."""


def _changed(rule: PushRule, change: DefaultChange | None) -> PushRule:
    if change is None:
        return rule
    return replace(
        rule,
        enabled=rule.enabled if change.enabled is None else change.enabled,
        actions_json=rule.actions_json if change.actions_json is None else change.actions_json,
    )


@lru_cache(maxsize=1024)
def parse_kind(kind: str) -> RuleKind:
    """The kind in a path. Raises InvalidParam."""
    for known in KINDS:
        if known == kind:
            return known
    raise InvalidParam(f"{kind[:50]!r} is not a kind of push rule; the kinds are {', '.join(KINDS)}.")


# What a list of actions means. All three take None, for an event that no rule matched.


def notifies(actions: Sequence[Action] | None) -> bool:
    """Whether the event is a notification for the user."""
    return actions is not None and "notify" in actions


def highlights(actions: Sequence[Action] | None) -> bool:
    """Whether the event is to be highlighted.

    "If a highlight tweak is given with no value, its value is defined to be true. If no highlight tweak is given at all
    then the value of highlight is defined to be false."
    """
    return notifies(actions) and bool(tweaks(actions).get("highlight", False))


def sound(actions: Sequence[Action] | None) -> str | None:
    """The sound to play, such as `default`; None for silence."""
    value = tweaks(actions).get("sound")
    return value if isinstance(value, str) else None


def tweaks(actions: Sequence[Action] | None) -> dict[str, Any]:
    """The `tweaks` of a notification sent to a push gateway."""
    return {
        action["set_tweak"]: action.get("value", True if action["set_tweak"] == "highlight" else None)
        for action in actions or ()
        if isinstance(action, dict) and isinstance(action.get("set_tweak"), str)
    }
