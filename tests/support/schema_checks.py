"""A quick yes for JSON that a schema allows: functions made once, instead of a walk over the schema for every answer.

`Checks.of` knows the keywords that the specification's schemas use and raises `UnknownKeyword` for any other, so that
nothing is passed over. It says only whether; jsonschema says why not (`openapi.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], bool]

SAYING_NOTHING = {
    "format",
    "title",
    "description",
    "example",
    "examples",
    "default",
    "deprecated",
    "readOnly",
    "$schema",
}
TYPES: dict[str, Check] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    ),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


class UnknownKeyword(Exception):
    """This keyword of JSON Schema is not implemented here."""


def anything(value: Any) -> bool:
    return True


class Checks:
    """Makes the functions for schemas whose `$ref` are `#/$defs/NAME` of `definitions`."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._made: dict[str, Check] = {}

    def of(self, schema: Any) -> Check:
        if schema is True or schema == {}:
            return anything
        if schema is False:
            return lambda value: False
        checks: list[Check] = []
        for keyword, wanted in schema.items():
            if keyword in SAYING_NOTHING or keyword in ("patternProperties", "additionalProperties"):
                continue
            make = getattr(self, f"_{keyword.removeprefix('$')}", None)
            if make is None:
                raise UnknownKeyword(keyword)
            checks.append(make(wanted))
        if "patternProperties" in schema or schema.get("additionalProperties", True) not in (True, {}):
            checks.append(self._others(schema))
        if len(checks) < 2:
            return checks[0] if checks else anything
        return lambda value: all(check(value) for check in checks)

    def _ref(self, reference: str) -> Check:
        name = reference.removeprefix("#/$defs/")
        if name not in self._made:
            self._made[name] = lambda value: self._made[name](value)  # until it is made: definitions name themselves
            self._made[name] = self.of(self._definitions[name])
        made = self._made[name]
        return made

    def _type(self, wanted: str | list[str]) -> Check:
        if isinstance(wanted, str):
            return TYPES[wanted]
        allowed = [TYPES[each] for each in wanted]
        return lambda value: any(check(value) for check in allowed)

    def _enum(self, wanted: list[Any]) -> Check:
        if any(not isinstance(each, str) for each in wanted):
            raise UnknownKeyword("enum of what is no string")
        return lambda value: value in wanted

    def _pattern(self, wanted: str) -> Check:
        search = re.compile(wanted).search
        return lambda value: not isinstance(value, str) or search(value) is not None

    def _required(self, wanted: list[str]) -> Check:
        return lambda value: not isinstance(value, dict) or all(name in value for name in wanted)

    def _minItems(self, wanted: int) -> Check:
        return lambda value: not isinstance(value, list) or len(value) >= wanted

    def _maxItems(self, wanted: int) -> Check:
        return lambda value: not isinstance(value, list) or len(value) <= wanted

    def _maxProperties(self, wanted: int) -> Check:
        return lambda value: not isinstance(value, dict) or len(value) <= wanted

    def _minProperties(self, wanted: int) -> Check:
        return lambda value: not isinstance(value, dict) or len(value) >= wanted

    def _items(self, wanted: Any) -> Check:
        check = self.of(wanted)
        return lambda value: not isinstance(value, list) or all(map(check, value))

    def _properties(self, wanted: Mapping[str, Any]) -> Check:
        checks = [(name, self.of(schema)) for name, schema in wanted.items()]
        checks = [(name, check) for name, check in checks if check is not anything]

        def check_properties(value: Any) -> bool:
            if isinstance(value, dict):
                for name, check in checks:
                    if name in value and not check(value[name]):
                        return False
            return True

        return check_properties

    def _others(self, schema: Mapping[str, Any]) -> Check:
        """`patternProperties`, and `additionalProperties` for what neither these nor `properties` name."""
        named = set(schema.get("properties", ()))
        patterns = [
            (re.compile(each).search, self.of(one)) for each, one in schema.get("patternProperties", {}).items()
        ]
        rest = self.of(schema.get("additionalProperties", True))

        def check_others(value: Any) -> bool:
            if isinstance(value, dict):
                for name, inner in value.items():
                    matching = [check for search, check in patterns if search(name)]
                    if not matching and name not in named:
                        matching = [rest]
                    if not all(check(inner) for check in matching):
                        return False
            return True

        return check_others

    def _allOf(self, wanted: list[Any]) -> Check:
        checks = [self.of(each) for each in wanted]
        return lambda value: all(check(value) for check in checks)

    def _anyOf(self, wanted: list[Any]) -> Check:
        checks = [self.of(each) for each in wanted]
        return lambda value: any(check(value) for check in checks)

    def _oneOf(self, wanted: list[Any]) -> Check:
        checks = [self.of(each) for each in wanted]
        return lambda value: sum(check(value) for check in checks) == 1
