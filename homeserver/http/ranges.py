"""One range of a file, exactly, or all of it (RFC 9110, section 14). Row E10 of the known attacks."""

from __future__ import annotations

import re
from typing import NamedTuple

_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


class Range(NamedTuple):
    """`length` bytes from `start` on."""

    start: int
    length: int


class NotSatisfiable(Exception):
    """The range lies outside the file (416)."""


def find_range(header: str | None, size: int) -> Range | None:
    """What a Range header asks for of a file of `size` bytes; None for all of it, which is also the answer to what is
    malformed and to several ranges at once. Raises NotSatisfiable."""
    match = _RANGE.fullmatch(header) if header is not None else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        if length == 0:
            raise NotSatisfiable
        return Range(size - length, length)
    start = int(match[1])
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    if match[2] and int(match[2]) < start:
        return None
    if start >= size:
        raise NotSatisfiable
    return Range(start, last - start + 1)
