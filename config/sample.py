"""Writes `halfdoor.sample.yaml` from the types: `python -m config.sample > config/halfdoor.sample.yaml`.

In the sample, `##` begins prose and a single `#` switches a setting off; taking every single `#` away leaves a valid
configuration. A test holds the file against this module.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator

from msgspec import NODEFAULT

from config.described import Entry, as_yaml, entries, summary
from config.reading import is_secret

WIDTH = 110

HEAD = """\
## Configuration of Halfdoor. Every setting is here with its default; only server_name must be given.
## Remove the # before a setting to change it. `halfdoor config check` says what is wrong with a file.
## Files are relative to this file's folder. Secrets are better kept in files (<setting>_file) or in the environment
## (HALFDOOR_<PATH>, for example HALFDOOR_DATABASE_URL; or HALFDOOR_<PATH>_FILE) than here.
"""


def render() -> str:
    """The whole sample."""
    blocks = [HEAD]
    for entry in entries():
        lines = [f"## {line}" for line in textwrap.wrap(heading(entry), WIDTH)]
        off = "" if entry.default is NODEFAULT else "#"
        lines += [off + line for line in setting_lines(entry)]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def heading(entry: Entry) -> str:
    return summary(entry.section) if entry.section is not None else entry.text


def setting_lines(entry: Entry, *, inside: bool = False) -> Iterator[str]:
    """`name: value`, or the name and the settings inside, each with its prose beside it."""
    if entry.section is None or (inside and entry.is_small):
        yield one_line(entry)
        return
    yield f"{entry.name}:"
    indent = "  - " if entry.is_list else "  "
    for inner in entries(entry.section, None if entry.is_list else entry.default):
        lines = list(setting_lines(inner, inside=True))
        for line in [*beside(lines[0], inner.text), *lines[1:]]:
            yield indent + line
            indent = " " * len(indent)


def beside(line: str, text: str) -> Iterator[str]:
    """A setting's line with its prose to the right, as many lines as the prose needs."""
    if not text:
        yield line
        return
    column = len(line) + 2
    for text_line in textwrap.wrap(text, max(WIDTH - column, 40)):
        yield f"{line:<{column}}# {text_line}"
        line = ""


def one_line(entry: Entry) -> str:
    shown = entry.default if entry.example is NODEFAULT else entry.example
    return f"{entry.name}{'_file' if is_secret(entry.type) else ''}: {as_yaml(shown)}"


if __name__ == "__main__":
    sys.stdout.write(render())
