"""Dot-separated property paths, such as `content.m\\.relates_to.rel_type`.

Spec: appendices, "Dot-separated property paths". Used by push conditions and by `event_fields` of filters.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@lru_cache(maxsize=4096)
def parse_path(path: str) -> tuple[str, ...]:
    """The property names of a path.

    "Any literal dot or backslash found in a property name should be escaped with a backslash. Other escape sequences
    are left as-is, e.g. a \\x would be treated as a literal backslash followed by 'x'."
    """
    names: list[str] = []
    name: list[str] = []
    characters = iter(path)
    for character in characters:
        if character == ".":
            names.append("".join(name))
            name = []
        elif character == "\\":
            escaped = next(characters, "")
            name.append(escaped if escaped in (".", "\\") and escaped else "\\" + escaped)
        else:
            name.append(character)
    names.append("".join(name))
    return tuple(names)


def property_at(value: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The value at `path`, or MISSING. Only objects are entered, never arrays."""
    current: Any = value
    for name in path:
        if not isinstance(current, Mapping) or name not in current:
            return MISSING
        current = current[name]
    return current
