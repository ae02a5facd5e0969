"""A setting that nothing reads would be a promise that is not kept."""

from __future__ import annotations

import ast
from pathlib import Path

from msgspec import inspect

from config.described import entries
from homeserver.http.routing import RateClass

ROOT = Path(__file__).parents[2]
READERS = ["homeserver/app.py", "homeserver/configured.py", "homeserver/bundled_webchat.py", "config/checks.py"]
# Read by the name of the limit that a route draws on.
BY_NAME = {rate.value for rate in RateClass}


def reads() -> set[tuple[str, str]]:
    """Every attribute that the composition root and the configuration's own checks read, with the name it is read of:
    `settings.webchat.port` gives (webchat, port)."""
    trees = [ast.parse((ROOT / name).read_text()) for name in READERS]
    found = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Attribute):
            of = node.value
            found.add((of.attr if isinstance(of, ast.Attribute) else getattr(of, "id", ""), node.attr))
    return found


def setting_names(section: inspect.StructType | None = None, path: str = "") -> list[str]:
    """The path of every setting that is no section; an item of a list is `[]`."""
    found: list[str] = []
    for entry in entries(section):
        if entry.section is None or path == "rate_limits.":
            found.append(f"{path}{entry.name}")
        else:
            found += setting_names(entry.section, f"{path}{entry.name}{'[]' if entry.is_list else ''}.")
    return found


def is_read(path: str, read: set[tuple[str, str]]) -> bool:
    *_, section, name = ("settings", *path.split("."))
    if section == "rate_limits" and name.removesuffix("_in_room") in BY_NAME:
        return True
    if section.endswith("[]"):  # read of a loop's variable, whatever its name
        return name in {attribute for _, attribute in read}
    return (section, name) in read


def test_every_setting_is_read_by_somebody() -> None:
    read = reads()
    # A contact is handed on whole, with msgspec.
    paths = [path for path in setting_names() if not path.startswith("support.contacts[]")]
    assert [path for path in paths if not is_read(path, read)] == []


def test_every_rate_class_has_its_limit() -> None:
    limits = {path.removeprefix("rate_limits.") for path in setting_names() if path.startswith("rate_limits.")}
    assert {name for name in limits if not name.endswith("_in_room")} - {"enabled"} == BY_NAME - {"none"}
    assert {name.removesuffix("_in_room") for name in limits} - {"enabled"} <= BY_NAME
