"""Holds docs/spec-coverage.tsv against the specification, the tests it names and the route tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from homeserver.http.routing import Route
from tests.support.spec_coverage import Row, problems, read_table, regenerated, table_routes

WHOAMI = ("client-server", "GET", "/_matrix/client/v3/account/whoami")
TEST = "tests/client_api/test_whoami.py::test_it"


def test_table_agrees_with_specification_tests_and_route_tables() -> None:
    assert list(problems(read_table(), table_routes())) == []


def test_table_is_in_the_specifications_order() -> None:
    rows = read_table()
    assert [row.key for row in regenerated(rows)] == [row.key for row in rows]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one test."""
    (tmp_path / "tests" / "client_api").mkdir(parents=True)
    (tmp_path / "tests" / "client_api" / "test_whoami.py").write_text("def test_it() -> None: ...\n")
    return tmp_path


def route(operation: str = "getTokenOwner") -> Route:
    return Route("GET", WHOAMI[2], AsyncMock(), operation=operation)


def table_with(status: str, test: str = "") -> list[Row]:
    return [replace(row, status=status, test=test) if row.key == WHOAMI else row for row in regenerated([])]


def test_whole_row_with_a_test_and_a_route_is_right(repository: Path) -> None:
    assert list(problems(table_with("whole", TEST), [route()], repository)) == []


def test_whole_row_must_name_a_test(repository: Path) -> None:
    assert "without a test" in " ".join(problems(table_with("whole"), [route()], repository))


@pytest.mark.parametrize("test", ["tests/nothing.py::test_it", f"{TEST}_more", "tests/client_api/test_whoami.py"])
def test_named_test_must_exist(repository: Path, test: str) -> None:
    assert "does not exist" in " ".join(problems(table_with("whole", test), [route()], repository))


def test_route_must_not_be_none_in_the_table(repository: Path) -> None:
    assert "none in the coverage" in " ".join(problems(table_with("none"), [route()], repository))


def test_whole_row_must_have_a_route(repository: Path) -> None:
    assert "no route table has it" in " ".join(problems(table_with("whole", TEST), [], repository))


def test_route_must_name_its_own_operation(repository: Path) -> None:
    found = " ".join(problems(table_with("partial"), [route("login")], repository))
    assert "is getTokenOwner in the specification, not login" in found


def test_missing_row_is_found(repository: Path) -> None:
    rows = [row for row in table_with("whole", TEST) if row.path != "/_matrix/client/v3/sync"]
    assert "GET /_matrix/client/v3/sync is missing" in " ".join(problems(rows, [route()], repository))
