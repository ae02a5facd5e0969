"""What was measured, and how it is shown: a table with ratios, JSON, and Markdown for docs/performance.md."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

OURS = "halfdoor"
THEIRS = "synapse"
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


class Measured(Protocol):
    """What a row is about: a case of `work.py`, or memory or start-up of `play.py`."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def higher_is_better(self) -> bool: ...
    @property
    def bar(self) -> float | None: ...


@dataclass
class Results:
    """Numbers by database, case and server; `machine` says what they were measured on."""

    machine: dict[str, str]
    numbers: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)

    def add(self, database: str, case: str, kind: str, number: float) -> None:
        self.numbers.setdefault(database, {}).setdefault(case, {}).setdefault(kind, []).append(number)

    def ratio(self, database: str, case: Measured) -> float | None:
        """How many times better Halfdoor's median is than Synapse's."""
        both = self.numbers.get(database, {}).get(case.name, {})
        if OURS not in both or THEIRS not in both:
            return None
        ours, theirs = statistics.median(both[OURS]), statistics.median(both[THEIRS])
        return ours / theirs if case.higher_is_better else theirs / ours

    def rows(self, database: str, cases: list[Any]) -> Iterator[tuple[str, str, str, str, str]]:
        """Title, Halfdoor's, Synapse's, ratio and bar of each case that was measured."""
        for case in cases:
            both = self.numbers.get(database, {}).get(case.name)
            if not both:
                continue
            ratio = self.ratio(database, case)
            bar = "" if case.bar is None else f"{case.bar:g}×"
            if ratio is not None and case.bar is not None:
                bar += " reached" if ratio >= case.bar else " MISSED"
            yield (
                case.title,
                cell(both.get(OURS), case.unit),
                cell(both.get(THEIRS), case.unit),
                "" if ratio is None else f"{ratio:.1f}×",
                bar,
            )

    def as_json(self) -> str:
        return json.dumps({"machine": self.machine, "numbers": self.numbers}, indent=2) + "\n"

    def as_markdown(self, cases: list[Any]) -> str:
        lines = ["Measured on: " + "; ".join(f"{name} {value}" for name, value in self.machine.items()) + ".", ""]
        for database in self.numbers:
            lines += [
                f"**{NAMES[database]}** (the median of the rounds, and in brackets the least and the most)",
                "",
                "| | Halfdoor | Synapse | ratio | bar |",
                "| --- | ---: | ---: | ---: | ---: |",
            ]
            lines += ["| " + " | ".join(row) + " |" for row in self.rows(database, cases)]
            lines.append("")
        return "\n".join(lines)

    def as_text(self, cases: list[Any]) -> str:
        lines = []
        for database in self.numbers:
            table = [(database, "Halfdoor", "Synapse", "ratio", "bar"), *self.rows(database, cases)]
            widths = [max(len(row[column]) for row in table) for column in range(5)]
            lines += ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)) for row in table]
            lines.append("")
        return "\n".join(lines)


def cell(numbers: list[float] | None, unit: str) -> str:
    """A median with its range."""
    if not numbers:
        return ""
    middle = f"{short(statistics.median(numbers))} {unit}".replace(" /s", "/s")
    return middle if len(numbers) == 1 else f"{middle} ({short(min(numbers))}–{short(max(numbers))})"


def short(number: float) -> str:
    """Three digits that count."""
    if number >= 100:
        return f"{number:.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"
