"""The table docs/attacks.tsv: the ids of the known attacks, and the tests that are named after them."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
TABLE: Final = REPOSITORY / "docs" / "attacks.tsv"
AREAS: Final = {
    "A": ("authorization, state resolution, event graph", 22),
    "B": ("federation", 30),
    "C": ("requests of the server", 10),
    "D": ("HTTP and exhaustion", 20),
    "E": ("media", 10),
    "F": ("accounts, tokens, application services", 19),
    "G": ("privacy and visibility", 12),
    "W": ("chat widget and bridges", 34),
}
"""Letter: what its attacks are about, and how many are known."""
_NAMED: Final = re.compile(r"test_((?:[A-Z]\d\d_)+)")


def known_ids() -> list[str]:
    """Every id, in order."""
    return [f"{letter}{number:02}" for letter, (_, count) in AREAS.items() for number in range(1, count + 1)]


def named_tests(folder: Path = REPOSITORY / "tests") -> Iterator[tuple[str, str]]:
    """(id, `tests/…/test_x.py::test_y`) of every test that is named after an attack."""
    for file in sorted(folder.rglob("test_*.py")):
        if "node_modules" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (found := _NAMED.match(node.name)):
                for attack in found[1].split("_")[:-1]:
                    yield attack, f"{file.relative_to(folder.parent).as_posix()}::{node.name}"


def table(folder: Path = REPOSITORY / "tests") -> str:
    """The table as it should be: a row for each id, its tests separated by spaces, none where it is not answered."""
    tests: dict[str, list[str]] = defaultdict(list)
    for attack, test in named_tests(folder):
        tests[attack].append(test)
    rows = [f"{one}\t{AREAS[one[0]][0]}\t{' '.join(sorted(tests[one]))}" for one in known_ids()]
    return "\n".join(["id\tarea\ttests", *rows, ""])
