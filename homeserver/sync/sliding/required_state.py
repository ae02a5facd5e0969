"""Which state of a room a client asked for: `required_state` of MSC4186, as clients of the unstable path write it.

A list of (type, state key) pairs. `*` stands for anything, `$ME` for the reader, and ("m.room.member", "$LAZY") for the
members that the timeline shows. Where ("*", "*") is among them, everything is wanted, and the pairs of a type that is
named besides say what is wanted of that type.
"""

from __future__ import annotations

from collections.abc import Iterable

from homeserver.rooms.live_room import MEMBER
from homeserver.storage.rooms import StateKey

ANY = "*"
LAZY = "$LAZY"
ME = "$ME"

Pairs = frozenset[StateKey]


class RequiredState:
    """What several lists and subscriptions together want of one room: whatever one of them wants."""

    __slots__ = ("_by_type", "_is_whole", "all_members", "is_lazy", "members", "pairs")

    def __init__(self, pairs: Iterable[Pairs]) -> None:
        self.pairs = frozenset(pairs)
        self._by_type: list[dict[str, set[str]]] = []
        for wanted in self.pairs:
            by_type: dict[str, set[str]] = {}
            for event_type, state_key in wanted:
                by_type.setdefault(event_type, set()).add(state_key)
            self._by_type.append(by_type)
        self._is_whole = [(ANY, ANY) in wanted for wanted in self.pairs]
        self.all_members = any(self._wants(index, MEMBER, None) for index in range(len(self._by_type)))
        self.is_lazy = not self.all_members and any((MEMBER, LAZY) in wanted for wanted in self.pairs)
        self.members = frozenset(
            key
            for by_type in self._by_type
            for key in (*by_type.get(MEMBER, ()), *by_type.get(ANY, ()))
            if key not in (ANY, LAZY)
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RequiredState) and self.pairs == other.pairs

    def __hash__(self) -> int:
        return hash(self.pairs)

    def wants(self, key: StateKey) -> bool:
        """Whether this entry of the state is wanted, however lazily members are loaded."""
        return any(self._wants(index, *key) for index in range(len(self._by_type)))

    def is_within(self, other: RequiredState) -> bool:
        """Whether nothing is wanted that `other` does not want too (a no may be wrong)."""
        return self.pairs <= other.pairs

    def _wants(self, index: int, event_type: str, state_key: str | None) -> bool:
        """`state_key` None: whatever it is."""
        by_type = self._by_type[index]
        keys = by_type.get(event_type)
        if keys is not None and (ANY in keys or state_key in keys):
            return True
        if self._is_whole[index]:
            return keys is None
        anywhere = by_type.get(ANY)
        return anywhere is not None and state_key in anywhere


NOTHING = RequiredState(())


def pairs_of(wanted: Iterable[StateKey], user_id: str) -> Pairs:
    """One `required_state` as its reader means it."""
    return frozenset((event_type, user_id if key == ME else key) for event_type, key in wanted)
