"""The specification's own mistakes in its schemas, put right before answers are held against them.

Each has the reason why it is the schema that is wrong: the prose of the specification says otherwise. Keep the list
short: a difference that is Halfdoor's is mended in Halfdoor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mistake:
    """One correction: `correct` changes the bundle in place and raises (KeyError) when the schema has moved."""

    reason: str
    correct: Callable[[dict[str, Any]], None]


MISTAKES: tuple[Mistake, ...] = ()
