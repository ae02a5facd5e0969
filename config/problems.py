"""What can be wrong with a configuration, said for the person who has to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: `path` is where (`listeners[0].port`), `message` what was expected and what was there instead."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigurationError(Exception):
    """The configuration cannot be used. Every problem that was found is listed, not only the first."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        lines = [f"{source} cannot be used:", *(f"  {problem}" for problem in self.problems)]
        super().__init__("\n".join(lines))
