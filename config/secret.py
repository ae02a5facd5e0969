"""A value that must not be shown, and the rule for which values are no secret at all."""

from __future__ import annotations

import hmac

MINIMUM_LENGTH = 16

# Words from samples, tutorials and other servers' documentation. A secret that everybody can read is none (F01).
PUBLIC_WORDS = frozenset(
    {
        "admin", "changeme", "changethis", "default", "demo", "example", "foobar", "halfdoor", "insecure", "letmein",
        "matrix", "none", "null", "password", "passwd", "placeholder", "registration", "replaceme", "secret",
        "sharedsecret", "synapse", "test", "todo", "yoursecret", "yoursecrethere", "xxx",
    }
)  # fmt: skip


class Secret:
    """A secret string. Printing, formatting and logging it shows dots; `reveal()` gives the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret('…')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)


def weakness(value: str) -> str | None:
    """Why `value` must not be used as a shared secret, or None when nothing is known against it."""
    if not value.strip():
        return "is empty"
    if len(value) < MINIMUM_LENGTH:
        return f"has {len(value)} characters, fewer than {MINIMUM_LENGTH}"
    letters = "".join(character for character in value.lower() if character.isalnum())
    if len(set(letters)) < 5:
        return "repeats a few characters"
    remainder = letters
    for word in sorted(PUBLIC_WORDS, key=len, reverse=True):
        remainder = remainder.replace(word, "")
    if len(remainder) < MINIMUM_LENGTH // 2:
        return "is made of words that stand in every sample"
    return None
