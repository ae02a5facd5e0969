"""docs/attacks.tsv says which known attacks have tests; the names of the tests are where it comes from."""

from __future__ import annotations

from pathlib import Path

from tests.support.attacks import TABLE, known_ids, named_tests, table


def test_table_is_as_the_tests_are() -> None:
    assert TABLE.read_text(encoding="utf-8") == table(), "run scripts/attacks"


def test_no_test_is_named_after_an_attack_that_is_not_known() -> None:
    assert {attack for attack, _ in named_tests()} - set(known_ids()) == set()


def test_test_is_found_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "http"
    folder.mkdir(parents=True)
    (folder / "test_x.py").write_text("async def test_D06_strict() -> None: ...\ndef test_plain() -> None: ...\n")
    row = "D06\tHTTP and exhaustion\ttests/http/test_x.py::test_D06_strict"
    assert row in table(tmp_path / "tests").splitlines()
    assert "D07\tHTTP and exhaustion\t" in table(tmp_path / "tests").splitlines()
