"""Glob-style matching in linear time: `*` is any run of characters, `?` is exactly one.

No regular expression is built from what users write, and nothing backtracks (known attack D07). A pattern is cut at
its stars into segments. `*` matches anything, so taking the leftmost place for each segment is always right, and a
pattern costs one pass over the text for each segment. Where a segment holds `?` or must stand at a word boundary, all
its places in the text are found at once with one wide integer per character (bit *p* is set where the text has that
character at *p*): the places of a segment of m characters are m shifts and ands over n bits.

Spec: appendices, "Glob-style matching"; Client-Server API, push conditions `event_match` and `contains_display_name`.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

_WORD_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


def fold_case(text: str) -> str:
    """The form in which patterns and texts are compared. Not `casefold`, which would turn ß into two letters."""
    return text.lower()


class GlobText:
    """A text to match many patterns against; what the patterns need of it is computed once. Give it folded text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._masks: dict[str, int] = {}

    @cached_property
    def _positions(self) -> dict[str, list[int]]:
        positions: dict[str, list[int]] = {}
        for position, character in enumerate(self.text):
            positions.setdefault(character, []).append(position)
        return positions

    def mask(self, character: str) -> int:
        """An integer whose bit *p* says that `character` stands at *p*."""
        mask = self._masks.get(character)
        if mask is None:
            bits = bytearray((len(self.text) >> 3) + 1)
            for position in self._positions.get(character, ()):
                bits[position >> 3] |= 1 << (position & 7)
            mask = self._masks[character] = int.from_bytes(bits, "little")
        return mask

    @cached_property
    def boundaries(self) -> int:
        """Bit *p* says that a word may begin or end before the character at *p* (or at the end, for *p* = length).

        "A word boundary is defined as the start or end of the value, or any character not in the sets [A-Z], [a-z],
        [0-9] or _." So a place is inside a word only between two such characters. A Chinese character is not one of
        them: it is a boundary of itself, and a Chinese keyword is found within a Chinese sentence, which has no spaces.
        """
        words = 0
        for character in _WORD_CHARACTERS:
            if character in self.text:
                words |= self.mask(character)
        return ((1 << (len(self.text) + 1)) - 1) & ~(words & (words << 1))

    def places(self, segment: str) -> int:
        """Bit *p* says that `segment` (whose `?` are any character) stands at *p*."""
        room = len(self.text) - len(segment)
        if room < 0:
            return 0
        places = (1 << (room + 1)) - 1
        for offset, character in enumerate(segment):
            if character != "?":
                places &= self.mask(character) >> offset
                if not places:
                    return 0
        return places

    def contains_word(self, literal: str) -> bool:
        """Whether `literal` (no globs; folded) stands somewhere in the text between word boundaries."""
        if not literal or literal not in self.text:
            return False
        places = (1 << (len(self.text) - len(literal) + 1)) - 1
        for offset, character in enumerate(literal):
            places &= self.mask(character) >> offset
        return bool(places & self.boundaries & (self.boundaries >> len(literal)))


def _first_bit(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


class Glob:
    """One compiled pattern. `single`: whether `?` is a wildcard (types in filters know only `*`)."""

    __slots__ = ("_literals", "_minimum", "_plain", "_segments", "pattern")

    def __init__(self, pattern: str, *, single: bool = True) -> None:
        self.pattern = pattern
        segments = pattern.split("*")
        # Empty middle segments (`**`) match anywhere and say nothing.
        self._segments = [segments[0], *(part for part in segments[1:-1] if part), *segments[-1:]]
        if len(segments) == 1:
            self._segments = segments
        self._plain = not (single and "?" in pattern)
        self._minimum = sum(len(part) for part in self._segments)
        pieces = {piece for part in self._segments for piece in (part.split("?") if single else [part]) if piece}
        self._literals = tuple(sorted(pieces, key=len, reverse=True))

    @property
    def is_literal(self) -> bool:
        """Whether the pattern holds no wildcard, so that it matches one text only."""
        return self._plain and len(self._segments) == 1

    def _cannot_match(self, text: str) -> bool:
        if len(text) < self._minimum:
            return True
        return any(literal not in text for literal in self._literals)

    def matches(self, subject: GlobText | str) -> bool:
        """Whether the pattern matches the whole text."""
        text = subject if isinstance(subject, str) else subject.text
        segments = self._segments
        if len(segments) == 1:
            return (
                text == segments[0] if self._plain else len(text) == self._minimum and self._fits(text, segments[0], 0)
            )
        if self._cannot_match(text):
            return False
        first, last = segments[0], segments[-1]
        end = len(text) - len(last)
        if not (self._fits(text, first, 0) and self._fits(text, last, end)):
            return False
        return self._middle(subject, text, len(first), end) is not None

    def matches_words(self, subject: GlobText) -> bool:
        """Whether the pattern matches some part of the text that starts and ends at a word boundary."""
        text, segments = subject.text, self._segments
        if self._cannot_match(text):
            return False
        first, last = segments[0], segments[-1]
        if len(segments) == 1:
            if not first:
                return True
            places = subject.boundaries & (subject.boundaries >> len(first))
            return bool(places & self._places(subject, first))
        position = 0
        if first:
            places = subject.boundaries & self._places(subject, first)
            if not places:
                return False
            position = _first_bit(places) + len(first)
        after = self._middle(subject, text, position, len(text))
        if after is None:
            return False
        if not last:
            return True
        return bool((self._places(subject, last) & (subject.boundaries >> len(last))) >> after)

    def _places(self, subject: GlobText, segment: str) -> int:
        return subject.places(segment)

    def _fits(self, text: str, segment: str, position: int) -> bool:
        if position < 0 or position + len(segment) > len(text):
            return False
        if self._plain:
            return text.startswith(segment, position)
        return all(character in ("?", text[position + offset]) for offset, character in enumerate(segment))

    def _middle(self, subject: GlobText | str, text: str, position: int, end: int) -> int | None:
        """The place after the last middle segment, each taken as far left as it goes; None if one is missing."""
        for segment in self._segments[1:-1]:
            if self._plain or "?" not in segment:
                found = text.find(segment, position, end)
            else:
                if isinstance(subject, str):
                    subject = GlobText(subject)
                later = subject.places(segment) >> position
                found = position + _first_bit(later) if later else -1
                if found + len(segment) > end:
                    found = -1
            if found < 0:
                return None
            position = found + len(segment)
        return position if position <= end else None


@lru_cache(maxsize=4096)
def glob(pattern: str) -> Glob:
    """A compiled case-insensitive pattern, shared by everybody who uses the same one."""
    return Glob(fold_case(pattern))
