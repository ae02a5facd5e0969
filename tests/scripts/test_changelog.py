"""The changelog's fragments: what the check takes, and what a release makes of them."""

from __future__ import annotations

import datetime
import importlib.util
from pathlib import Path
from typing import Any

import pytest


def load_script() -> Any:
    path = Path(__file__).parents[2] / "scripts" / "changelog.py"
    spec = importlib.util.spec_from_file_location("changelog", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


changelog = load_script()


def test_the_fragments_of_this_repository_are_well_formed() -> None:
    assert changelog.problems(changelog.FRAGMENTS) == []


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("search.md", "Found.", "expected a name such as"),
        ("search.feature.md", "Found.", "expected a name such as"),
        ("Search.added.md", "Found.", "expected a name such as"),
        ("search.added.md", "", "end with a full stop"),
        ("search.added.md", "No stop", "end with a full stop"),
        ("search.added.md", "- A list.", "plain sentences"),
    ],
)
def test_a_malformed_fragment_is_named(name: str, text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    (found,) = changelog.problems(tmp_path)
    assert found.startswith(f"{name}: ")
    assert problem in found


def test_a_release_gathers_fragments_by_kind_and_removes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "changelog.d"
    folder.mkdir()
    (folder / "README.md").write_text("stays")
    (folder / "b.fixed.md").write_text("Mended.\n")
    (folder / "a.added.md").write_text("Made\nnew.\n")
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{changelog.MARK}\n## 0.1.0 (2026-01-01)\n")
    monkeypatch.setattr(changelog, "FRAGMENTS", folder)
    monkeypatch.setattr(changelog, "CHANGELOG", tmp_path / "CHANGELOG.md")
    changelog.release("0.2.0")
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    assert (tmp_path / "CHANGELOG.md").read_text() == (
        f"# Changelog\n\n{changelog.MARK}\n## 0.2.0 ({day})\n\n### Added\n\n- Made new.\n\n"
        "### Fixed\n\n- Mended.\n\n## 0.1.0 (2026-01-01)\n"
    )
    assert [file.name for file in folder.iterdir()] == ["README.md"]
