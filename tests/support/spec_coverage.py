"""The table docs/spec-coverage.tsv: which operation of the specification is done, and which test proves it.

One row an operation (columns `api method path status test note`). Status, test and note are kept by hand or with
`scripts/spec_coverage set`; `problems()` holds the table against the specification, the tests and the route tables.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import MagicMock

from federation.api.routes import federation_routes
from homeserver.appservice_api.routes import appservice_routes
from homeserver.client_api.oauth_routes import oauth_routes
from homeserver.client_api.routes import routes as client_api_routes
from homeserver.http.routing import Route
from tests.support.openapi import Operation, all_operations

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = REPOSITORY / "docs" / "spec-coverage.tsv"
COLUMNS = ("api", "method", "path", "status", "test", "note")
STATUSES = ("whole", "partial", "none")
SERVED_APIS = ("client-server", "server-server")
"""The APIs that Halfdoor answers; of the others it is the caller, so their rows need no route."""


@dataclass(frozen=True)
class Row:
    """One operation; `test` holds test ids (`tests/…/test_x.py::test_y`) separated by spaces."""

    api: str
    method: str
    path: str
    status: str = "none"
    test: str = ""
    note: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.api, self.method, self.path

    def line(self) -> str:
        return "\t".join((self.api, self.method, self.path, self.status, self.test, self.note))


def read_table(table: Path = TABLE) -> list[Row]:
    """The rows as written; raises ValueError when a line is not six columns."""
    if not table.exists():
        return []
    lines = table.read_text(encoding="utf-8").splitlines()
    if not lines or tuple(lines[0].split("\t")) != COLUMNS:
        raise ValueError(f"{table.name} does not begin with the columns {' '.join(COLUMNS)}")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        parts = line.split("\t")
        if len(parts) != len(COLUMNS):
            raise ValueError(f"{table.name}, line {number}: {len(parts)} columns instead of {len(COLUMNS)}")
        rows.append(Row(*parts))
    return rows


def write_table(rows: list[Row], table: Path = TABLE) -> None:
    """Write the rows in their order."""
    table.write_text("\n".join(["\t".join(COLUMNS), *(row.line() for row in rows)]) + "\n", encoding="utf-8")


def regenerated(rows: list[Row]) -> list[Row]:
    """One row for each operation of the specification, in its order; what was written by hand is kept."""
    kept = {row.key: row for row in rows}
    fresh = (Row(operation.api, operation.method, operation.path) for operation in all_operations())
    return [kept.get(row.key, row) for row in fresh]


def with_status(rows: list[Row], operation: Operation, status: str, test: str, note: str) -> list[Row]:
    """The rows with one operation's status, tests and note replaced (an empty note keeps the old one)."""
    if status not in STATUSES:
        raise ValueError(f"the status is one of {', '.join(STATUSES)}, not {status!r}")
    key = (operation.api, operation.method, operation.path)
    return [replace(row, status=status, test=test, note=note or row.note) if row.key == key else row for row in rows]


def with_routes(rows: list[Row], table: Sequence[Route]) -> list[Row]:
    """The rows in which each operation that has a route is at least `partial`."""
    routed = {(route.method, _shape(route.path)) for route in table if route.operation}
    return [
        replace(row, status="partial") if row.status == "none" and (row.method, _shape(row.path)) in routed else row
        for row in rows
    ]


def counts(rows: list[Row]) -> dict[str, Counter[str]]:
    """For each API, how many rows have which status."""
    return {
        api: Counter(row.status for row in rows if row.api == api) for api in dict.fromkeys(row.api for row in rows)
    }


def table_routes() -> list[Route]:
    """Every row of the route tables; the services behind the handlers are stand-ins, for nothing is called."""
    return [
        *client_api_routes(MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock()),
        *appservice_routes(MagicMock(), MagicMock()),
        *oauth_routes(MagicMock(), MagicMock(), MagicMock()),
        *federation_routes(MagicMock(), MagicMock(), MagicMock(), MagicMock(), MagicMock()),
    ]


def seen_operations(file: Path) -> dict[str, set[str]]:
    """For each operation that a test run saw succeed, the ids of the tests that did (`openapi.SEEN_VARIABLE`)."""
    seen: dict[str, set[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        name, test = line.split("\t")
        seen.setdefault(name, set()).add(test)
    return seen


def problems(rows: list[Row], table: Sequence[Route], repository: Path = REPOSITORY) -> Iterator[str]:
    """A sentence for each thing in which the table, the specification, the tests and the route tables disagree."""
    operations = {(one.api, one.method, one.path): one for one in all_operations()}
    listed = {row.key: row for row in rows}
    yield from (f"{' '.join(key)} is missing from the table" for key in operations if key not in listed)
    yield from (f"{' '.join(key)} is no operation of the specification" for key in listed if key not in operations)
    if len(listed) != len(rows):
        yield "a row is there twice"
    routes = {(route.method, _shape(route.path)): route for route in table if route.operation}
    by_shape: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.key in operations:
            by_shape.setdefault((row.method, _shape(row.path)), []).append(row)
    for place, route in routes.items():
        # Inviting by user id and by e-mail are two operations of one path.
        found = [row for row in by_shape.get(place, ()) if operations[row.key].name == route.operation]
        if not found:
            expected = " or ".join(operations[row.key].name for row in by_shape.get(place, ())) or "no operation"
            yield f"{route.method} {route.path} is {expected} in the specification, not {route.operation}"
        elif found[0].status == "none":
            yield f"{route.method} {found[0].path} is in the route table, and none in the coverage"
    for row in rows:
        served = row.api in SERVED_APIS
        if row.status not in STATUSES:
            yield f"{row.method} {row.path}: status {row.status!r} is none of {', '.join(STATUSES)}"
        elif row.status != "none" and served and (row.method, _shape(row.path)) not in routes:
            yield f"{row.method} {row.path} is {row.status}, and no route table has it"
        elif row.status == "whole" and not row.test.split():
            yield f"{row.method} {row.path} is whole without a test that proves it"
        for test in row.test.split():
            if not _test_exists(repository, test):
                yield f"{row.method} {row.path}: the test {test} does not exist"


def _test_exists(repository: Path, test: str) -> bool:
    place, *names = test.split("::")
    file = repository / place
    if not names or not place.startswith("tests/") or not file.is_file():
        return False
    body: list[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
    for name in names:
        found = next((node for node in body if getattr(node, "name", None) == name.partition("[")[0]), None)
        if not isinstance(found, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            return False
        body = found.body
    return names[-1].startswith("test")


def _shape(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path.strip())
