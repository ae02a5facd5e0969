"""Holds answers of the server against the specification's OpenAPI schemas.

`validate_answer` is called for every answer in the client tests, so it is quick: operations are found through an index,
and only what `schema_checks.py` does not find allowed is looked at by jsonschema, which says what is wrong. The schemas
come from `openapi.json` beside this file, which `scripts/bundle_openapi` makes; nothing is fetched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jsonschema

from tests.support.openapi_mistakes import MISTAKES
from tests.support.schema_checks import Check, Checks

BUNDLE = Path(__file__).with_name("openapi.json")
REQUESTS = Path(__file__).with_name("openapi_requests.json")
SEEN_VARIABLE = "HALFDOOR_SEEN_OPERATIONS"
ERROR_SCHEMA = {
    "type": "object",
    "properties": {"errcode": {"type": "string", "pattern": "^[A-Z][A-Z0-9_.]*$"}, "error": {"type": "string"}},
    "required": ["errcode", "error"],
}
INTERACTIVE_SCHEMA = {"$ref": "#/$defs/api-client-server-definitions-auth_response"}
EQUIVALENT_PREFIXES = (
    ("/_matrix/client/r0/", "/_matrix/client/v3/"),
    ("/_matrix/client/unstable/keys/", "/_matrix/client/v3/keys/"),
    ("/_matrix/media/r0/", "/_matrix/media/v3/"),
)


@dataclass(frozen=True)
class Operation:
    """One operation of the specification; `answers` maps a status (`"200"`, `"4XX"`) to the schema of its JSON."""

    api: str
    method: str
    path: str
    name: str
    answers: Mapping[str, Any] = field(repr=False)

    def schema(self, status: int) -> Any:
        """The schema of this status; None without a body, `{"not_json": …}` for files; KeyError when not listed."""
        exact = str(status)
        return self.answers[exact] if exact in self.answers else self.answers[f"{exact[0]}XX"]


def find_operation(method: str, path: str) -> Operation | None:
    """The operation that a request is for, or None for what the specification does not have.

    `path` is as sent: percent-encoded, a query allowed. The old `r0` prefix counts as `v3`.
    """
    plain = urlsplit(path).path
    for old, new in EQUIVALENT_PREFIXES:
        if plain.startswith(old):
            plain = new + plain[len(old) :]
    segments = [unquote(segment) for segment in plain.split("/")]
    best: tuple[list[bool], Operation] | None = None
    for template, operation in _index().get((method.upper(), len(segments)), ()):
        if all(part is None or part == segment for part, segment in zip(template, segments, strict=True)):
            literal = [part is not None for part in template]
            if best is None or literal > best[0]:
                best = (literal, operation)
    return best[1] if best else None


def find_operation_named(name: str) -> Operation:
    """The Client-Server operation with this operationId (then any other API's); raises KeyError."""
    return _operations_by_name()[name]


def validate_answer(method: str, path: str, status: int, body: Any) -> None:
    """Raise AssertionError, naming the operation and the JSON path, when an answer is not what the schema promises.

    `body` is decoded JSON; for an answer that is not JSON pass `bytes` or None. An error (status 400 and above) that
    the operation does not list, or of a path that the specification does not have, must have the standard error form;
    a status below 400 that the operation does not list is wrong.
    """
    operation = find_operation(method, path)
    where = f"{method.upper()} {urlsplit(path).path}"
    if operation is None:
        if status >= 400:
            _check(ERROR_SCHEMA, f"{where} (no operation of the specification)", status, body)
        return
    if status < 400:
        _note_seen(operation)
    where = f"{operation.name} ({where})"
    if status == 401 and isinstance(body, dict) and "flows" not in body:
        # Operations with User-Interactive Authentication list its form alone, but a token can be missing there, too.
        _check(ERROR_SCHEMA, where, status, body)
        return
    try:
        schema = operation.schema(status)
    except KeyError:
        assert status >= 400, f"{where} answered {status}, which the specification does not list for it"
        schema = INTERACTIVE_SCHEMA if status == 401 and isinstance(body, dict) and "flows" in body else ERROR_SCHEMA
    if schema is None or (isinstance(schema, dict) and "not_json" in schema):
        return
    if isinstance(body, bytes):
        raise AssertionError(f"{where} answered {status} with bytes where JSON was expected")
    _check(schema, where, status, body)


@cache
def all_operations() -> tuple[Operation, ...]:
    """Every operation of every API of the specification."""
    return tuple(
        Operation(row["api"], row["method"], row["path"], row["operation"], row["answers"])
        for row in _bundle()["operations"]
    )


@cache
def requests_of_the_specification(api: str = "client-server") -> dict[str, Any]:
    """What each operation of an API (or "server-server") may be asked, by operationId: `security`, `parameters` and
    `body`; "$defs" are the definitions that bodies refer to."""
    bundle = json.loads(REQUESTS.read_text(encoding="utf-8"))
    rows = {row["operation"]: row for row in bundle["operations"] if row.get("api", "client-server") == api}
    return {**rows, "$defs": bundle["$defs"]}


def _note_seen(operation: Operation) -> None:
    """Write down which test saw which operation, for `scripts/spec_coverage seen`."""
    file = os.environ.get(SEEN_VARIABLE)
    if file:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0].partition("[")[0]
        with open(file, "a", encoding="utf-8") as notes:
            notes.write(f"{operation.name}\t{test}\n")


def _check(schema: Any, where: str, status: int, body: Any) -> None:
    if _allows(schema, body):
        return
    validator = jsonschema.Draft202012Validator({"allOf": [schema], "$defs": _bundle()["$defs"]})
    problems = sorted(validator.iter_errors(body), key=lambda problem: problem.json_path)
    if not problems:
        return
    lines = [f"  {problem.json_path}: {problem.message[:400]}" for problem in problems[:10]]
    raise AssertionError("\n".join([f"{where} answered {status} with what its schema does not allow:", *lines]))


@cache
def _bundle() -> dict[str, Any]:
    bundle: dict[str, Any] = json.loads(BUNDLE.read_text(encoding="utf-8"))
    for mistake in MISTAKES:
        mistake.correct(bundle)
    return bundle


@cache
def _index() -> dict[tuple[str, int], list[tuple[list[str | None], Operation]]]:
    index: dict[tuple[str, int], list[tuple[list[str | None], Operation]]] = {}
    for operation in all_operations():
        paths = [operation.path]
        if operation.path.endswith("/state/{eventType}/{stateKey}"):
            paths.append(operation.path.removesuffix("/{stateKey}"))
        for path in paths:
            template = [None if part.startswith("{") else part for part in path.split("/")]
            index.setdefault((operation.method, len(template)), []).append((template, operation))
    return index


@cache
def _operations_by_name() -> dict[str, Operation]:
    names: dict[str, Operation] = {}
    for operation in all_operations():
        names.setdefault(operation.name, operation)
    return names


def _allows(schema: Any, body: Any) -> bool:
    """The schema is one of the bundle's or of this module's: it lives as long as what is kept for it."""
    found = _made.get(id(schema))
    if found is None:
        found = _made[id(schema)] = _checks().of(schema)
    return found(body)


_made: dict[int, Check] = {}


@cache
def _checks() -> Checks:
    return Checks(_bundle()["$defs"])
