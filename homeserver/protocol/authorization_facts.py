"""What the rules of authorisation work with: the facts they ask, how they reject, and how rules are numbered.

A rule is a function of the facts. It returns True to allow the event and end there, False to leave it to the next rule,
and raises `reject(...)` to reject it. A `Group` is a numbered list of rules of the specification and is itself a rule;
a rule that rejects does not know its number, the groups around it do, since the number differs by room version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from homeserver.protocol.errors import Forbidden
from homeserver.protocol.events import Event, StateKey
from homeserver.protocol.power_levels import PowerLevels, power_levels_of
from homeserver.protocol.room_versions import RoomVersion


class NotAuthorized(Forbidden):
    """The rules of the room do not allow this event. `rule` is the number on the page of the room version."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class Facts:
    """An event, and the state that it is judged by. Whatever their contents, asking raises nothing."""

    __slots__ = ("_levels", "event", "sender", "state", "version")

    def __init__(self, event: Event, state: Mapping[StateKey, Event]) -> None:
        self.event = event
        self.state = state
        self.version: RoomVersion = event.room_version
        self.sender = event.sender
        self._levels: PowerLevels | None = None

    @property
    def create(self) -> Event:
        """The create event. The rule `room_has_create` comes before every rule that asks."""
        return self.state[CREATE]

    @property
    def levels(self) -> PowerLevels:
        levels = self._levels
        if levels is None:
            levels = self._levels = power_levels_of(self.state.get(CREATE), self.state.get(POWER_LEVELS))
        return levels

    @property
    def target(self) -> str:
        """The user whom a membership event is about."""
        return self.event.state_key or ""

    @property
    def join_rule(self) -> str:
        """The join rule: "invite" where there is none, and "", which lets nobody in, where it is no text."""
        event = self.state.get(JOIN_RULES)
        if event is None:
            return "invite"
        rule = event.content.get("join_rule", "invite")
        return rule if isinstance(rule, str) else ""

    def membership_of(self, user_id: str) -> str:
        """A user's current membership; "leave" for who was never there."""
        event = self.state.get(("m.room.member", user_id))
        if event is None:
            return "leave"
        membership = event.content.get("membership")
        return membership if isinstance(membership, str) else "leave"


CREATE: StateKey = ("m.room.create", "")
POWER_LEVELS: StateKey = ("m.room.power_levels", "")
JOIN_RULES: StateKey = ("m.room.join_rules", "")

Rule: TypeAlias = Callable[[Facts], bool]


def reject(message: str) -> NotAuthorized:
    """The rejection of a rule, to be raised; the groups around the rule add its number."""
    return NotAuthorized("", message)


class Group:
    """Rules that the specification numbers from 1, applied in order until one allows or rejects.

    `condition`: "If type is ...:"; where it does not hold the group leaves the event to the rule after it.
    """

    __slots__ = ("condition", "rules")

    def __init__(self, *rules: Rule, condition: Callable[[Facts], bool] | None = None) -> None:
        self.rules = rules
        self.condition = condition

    def __call__(self, facts: Facts) -> bool:
        if self.condition is not None and not self.condition(facts):
            return False
        for rule in self.rules:
            try:
                if rule(facts):
                    return True
            except NotAuthorized as rejection:
                number = str(self.rules.index(rule) + 1)
                rejection.rule = f"{number}.{rejection.rule}" if rejection.rule else number
                raise
        return False


def otherwise_allow(_: Facts) -> bool:
    """Otherwise, allow."""
    return True


def otherwise_reject(message: str) -> Rule:
    """Otherwise, reject."""

    def rule(_: Facts) -> bool:
        raise reject(message)

    return rule


def no_rule(_: Facts) -> bool:
    """A number that the specification skips."""
    return False
