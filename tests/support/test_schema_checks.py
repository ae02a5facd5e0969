"""The quick check must say the same as jsonschema, for every keyword that it knows."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from tests.support.schema_checks import Checks, UnknownKeyword

DEFINITIONS: dict[str, Any] = {
    "tree": {"type": "object", "properties": {"below": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}},
    "name": {"type": "string", "pattern": "^@"},
}
SCHEMAS: list[Any] = [
    True,
    False,
    {},
    *({"type": name} for name in ("object", "array", "string", "boolean", "null", "integer", "number")),
    {"type": ["string", "null"]},
    {"enum": ["a", "@b"]},
    {"pattern": "^@", "format": "mx-user-id"},
    {"required": ["a", "b"]},
    {"minItems": 1, "maxItems": 2},
    {"minProperties": 1, "maxProperties": 1},
    {"items": {"type": "integer"}},
    {"items": False},
    {"properties": {"a": {"type": "integer"}, "b": True, "c": False}},
    {"properties": {"a": {}}, "additionalProperties": False},
    {"properties": {"a": {"type": "array"}}, "additionalProperties": {"type": "integer"}},
    {"patternProperties": {"^a": {"type": "integer"}, "b$": {"type": "number"}}},
    {"properties": {"a": True}, "patternProperties": {"^b": {"type": "null"}}, "additionalProperties": False},
    {"patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": {"$ref": "#/$defs/name"}},
    {"allOf": [{"type": "object"}, {"required": ["a"]}]},
    {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/name"}]},
    {"oneOf": [{"type": "integer"}, {"type": "number"}, {"type": "string"}]},
    {"$ref": "#/$defs/tree", "required": ["below"], "title": "A tree"},
    {"$ref": "#/$defs/name"},
]
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -7, 1.0, 1.5, "", "a", "@b", "x@", "ab", [], [1], ["@a", 1], [1, 2, 3], [[]], [None]),
    *({}, {"a": 1}, {"a": "@x"}, {"b": None}, {"b": 1.5}, {"c": 1}, {"a": [], "b": 2}, {"ab": 1.5}, {"other": "@x"}),
    *({"a": 1, "b": None, "z": "@"}, {"below": []}, {"below": [{"below": [{}, {"below": 1}]}]}, {"below": [{}]}),
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_the_quick_check_says_what_jsonschema_says(schema: Any) -> None:
    check = Checks(DEFINITIONS).of(schema)
    judge = jsonschema.Draft202012Validator({"allOf": [schema], "$defs": DEFINITIONS})
    for value in VALUES:
        assert check(value) == judge.is_valid(value), value


def test_an_unknown_keyword_is_not_passed_over() -> None:
    with pytest.raises(UnknownKeyword, match="uniqueItems"):
        Checks({}).of({"properties": {"a": {"uniqueItems": True}}})
