"""Every dependency has its reason in docs/dependencies.md, and the page names none that is gone."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def declared() -> set[str]:
    """The packages that setup.py names, of every extra."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    (call,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "setup"
    ]
    arguments = {keyword.arg: keyword.value for keyword in call.keywords}
    required: list[str] = ast.literal_eval(arguments["install_requires"])
    extras: dict[str, list[str]] = ast.literal_eval(arguments["extras_require"])
    lines = [*required, *(line for lines in extras.values() for line in lines)]
    return {re.split(r"[<>=\[; ]", line)[0] for line in lines}


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    explained = set(re.findall(r"^- \*\*([A-Za-z0-9-]+)\*\*: \S", page, flags=re.MULTILINE))
    assert explained == declared()
