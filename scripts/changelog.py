"""The changelog is made of fragments, so that two changes never meet in the same line.

    scripts/changelog.py check           are the fragments well-formed?
    scripts/changelog.py release 0.2.0   move them into CHANGELOG.md under that version

A fragment is changelog.d/<what-it-is-about>.<kind>.md with one or more sentences for the people who run Halfdoor.
"""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FRAGMENTS = ROOT / "changelog.d"
CHANGELOG = ROOT / "CHANGELOG.md"
MARK = "<!-- releases -->\n"
KINDS = {"added": "Added", "changed": "Changed", "fixed": "Fixed", "removed": "Removed", "security": "Security"}
NAME = re.compile(rf"^[a-z0-9][a-z0-9-]*\.({'|'.join(KINDS)})\.md$")


def fragments(folder: Path) -> list[Path]:
    """Every fragment, in the order of their names."""
    return sorted(file for file in folder.iterdir() if file.name != "README.md")


def problems(folder: Path) -> list[str]:
    """What is wrong with the fragments, a sentence each."""
    found = []
    for file in fragments(folder):
        text = file.read_text(encoding="utf-8").strip()
        if not NAME.match(file.name):
            found.append(f"{file.name}: expected a name such as search-in-chinese.added.md ({', '.join(KINDS)})")
        elif not text or not text.endswith("."):
            found.append(f"{file.name}: expected sentences that end with a full stop")
        elif text.startswith(("-", "#", "*")):
            found.append(f"{file.name}: expected plain sentences; the list is made when it is released")
    return found


def release_notes(folder: Path, version: str, day: datetime.date) -> str:
    """The section of a release."""
    lines = [f"## {version} ({day.isoformat()})", ""]
    for kind, title in KINDS.items():
        texts = [file.read_text(encoding="utf-8") for file in fragments(folder) if file.name.endswith(f".{kind}.md")]
        if texts:
            lines += [f"### {title}", "", *(f"- {' '.join(text.split())}" for text in texts), ""]
    return "\n".join(lines) + "\n"


def release(version: str) -> None:
    """Write the release's section below the mark, and remove the fragments."""
    before, mark, after = CHANGELOG.read_text(encoding="utf-8").partition(MARK)
    notes = release_notes(FRAGMENTS, version, datetime.datetime.now(datetime.UTC).date())
    CHANGELOG.write_text(f"{before}{mark}\n{notes}{after.lstrip()}", encoding="utf-8")
    for file in fragments(FRAGMENTS):
        file.unlink()


def main(arguments: list[str]) -> int:
    match arguments:
        case ["check"]:
            found = problems(FRAGMENTS)
        case ["release", version] if not problems(FRAGMENTS):
            release(version)
            return 0
        case ["release", _]:
            found = problems(FRAGMENTS)
        case _:
            found = [(__doc__ or "").strip()]
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
