"""Numbered placeholders: the `?` of our SQL as the `$1`, `$2`, … that PostgreSQL wants."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import count

_TOKEN = re.compile(
    r"""
    '(?:[^']|'')*'      # a string
    | "(?:[^"]|"")*"    # a quoted name
    | --[^\n]*          # comments
    | /\*.*?\*/
    | \?
    """,
    re.VERBOSE | re.DOTALL,
)


@lru_cache(maxsize=2048)
def numbered(sql: str) -> str:
    """`sql` with its placeholders numbered from 1; question marks in quotes and comments stay."""
    numbers = count(1)
    return _TOKEN.sub(lambda found: f"${next(numbers)}" if found[0] == "?" else found[0], sql)
