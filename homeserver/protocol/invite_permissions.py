"""Whom a user lets invite them: what the account data says, as a decision about one who invites.

Spec (v1.18): Client-Server API, "Invite permission" (`m.invite_permission_config`, which blocks everybody or nobody);
MSC4155 (`org.matrix.msc4155.invite_permission_config`, which knows users and servers, by globs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from homeserver.protocol.globs import Glob, fold_case, glob
from homeserver.protocol.identifiers import domain_of

Decision = Literal["allow", "ignore", "block"]
"""`ignore`: the invite is made and not shown. `block`: it is refused."""

STABLE: Final = "m.invite_permission_config"
BLOCKING: Final = "org.matrix.msc4380.invite_permission_config"
FILTERING: Final = "org.matrix.msc4155.invite_permission_config"
TYPES: Final = (STABLE, BLOCKING, FILTERING)

MAX_PATTERNS: Final = 1_000
"""Of each list; what comes later is not looked at (D07)."""
MAX_PATTERN_LENGTH: Final = 255

_ORDER: Final[tuple[tuple[str, Decision], ...]] = (("allowed", "allow"), ("ignored", "ignore"), ("blocked", "block"))


@dataclass(frozen=True, slots=True)
class InviteRules:
    """The rules of one user: everybody is blocked, or users and servers are looked up in this order."""

    blocks_everybody: bool = False
    users: tuple[tuple[tuple[Glob, ...], Decision], ...] = ()
    servers: tuple[tuple[tuple[Glob, ...], Decision], ...] = ()

    @classmethod
    def of(cls, contents: Mapping[str, Mapping[str, Any]]) -> InviteRules:
        """From the contents of the account data by type; what is malformed says nothing."""
        for name in (STABLE, BLOCKING):
            if contents.get(name, {}).get("default_action") == "block":
                return cls(blocks_everybody=True)
        filtering = contents.get(FILTERING, {})
        if filtering.get("enabled") is False:
            return cls()
        return cls(False, _rules(filtering, "users"), _rules(filtering, "servers"))

    def decide(self, sender: str) -> Decision:
        """What becomes of an invite by `sender`. Users come before servers, and allowing before the rest."""
        if self.blocks_everybody:
            return "block"
        for rules, subject in ((self.users, sender), (self.servers, domain_of(sender))):
            for globs, decision in rules:
                if any(each.matches(fold_case(subject)) for each in globs):
                    return decision
        return "allow"


NO_RULES: Final = InviteRules()


def _rules(content: Mapping[str, Any], of: str) -> tuple[tuple[tuple[Glob, ...], Decision], ...]:
    found: list[tuple[tuple[Glob, ...], Decision]] = []
    for name, decision in _ORDER:
        values = content.get(f"{name}_{of}")
        if isinstance(values, list):
            patterns = [value for value in values[:MAX_PATTERNS] if isinstance(value, str)]
            globs = tuple(glob(each) for each in patterns if 0 < len(each) <= MAX_PATTERN_LENGTH)
            if globs:
                found.append((globs, decision))
    return tuple(found)
