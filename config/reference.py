"""Writes `docs/configuration.md` from the types: `python -m config.reference > docs/configuration.md`.

A test holds the page against this module.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from msgspec import NODEFAULT, inspect

from config.described import as_yaml, entries, summary
from config.reading import description, environment_variable, is_secret

HEAD = """\
# Configuration

<!-- Written by `python -m config.reference`; change config/settings.py instead. -->

One YAML file. `halfdoor init` writes a first one, `config/halfdoor.sample.yaml` shows every setting, and
`halfdoor config check --config FILE` lists everything that is wrong with a file, each problem with its path and what
was expected. Files are relative to the configuration file's folder.

**Secrets** have no built-in default. Each may be given in three ways; the first that is there is taken:

1. an environment variable, `HALFDOOR_` and the setting's path in capitals, or the same with `_FILE` for a file that
   holds it,
2. `<setting>_file: path` in the configuration,
3. `<setting>: value` in the configuration.

A secret that is empty is refused, and so is a shared secret that is short or known from examples.
"""


def render() -> str:
    """The whole page."""
    top = [entry for entry in entries() if entry.section is None]
    parts = [HEAD, "## Top level\n", table(top, "")]
    for entry in entries():
        if entry.section is not None:
            parts += list(section(entry.section, entry.name, None if entry.is_list else entry.default, entry.is_list))
    return "\n".join(parts)


def section(struct: inspect.StructType, path: str, default: Any, is_list: bool) -> Iterator[str]:
    """A heading, a table of the plain settings, and then the sections inside."""
    path += "[]" if is_list else ""
    rows = list(entries(struct, default))
    yield f"## `{path}`\n"
    yield summary(struct) + "\n"
    yield table([entry for entry in rows if entry.section is None or entry.is_small], path)
    for entry in rows:
        if entry.section is not None and not entry.is_small:
            inner = None if entry.is_list else entry.default
            yield from section(entry.section, f"{path}.{entry.name}", inner, entry.is_list)


def table(rows: list[Any], path: str) -> str:
    lines = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for entry in rows:
        text = entry.text
        if is_secret(entry.type) and "[" not in path:
            text += f" Environment: `{environment_variable(f'{path}.{entry.name}')}`."
        cells = (f"`{entry.name}`", description(entry.type), default_cell(entry.default), text)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def default_cell(default: Any) -> str:
    if default is NODEFAULT:
        return "required"
    return "none" if default is None or default == "" else f"`{as_yaml(default)}`"


if __name__ == "__main__":
    sys.stdout.write(render())
