"""Turns a parsed YAML document into a typed settings object, and every mistake on the way into a `Problem`.

msgspec's own `convert` stops at the first mistake and knows neither near names nor secrets; this reader walks the same
type information, so the types in `settings.py` stay the only description.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from config.problems import Problem
from config.secret import Secret

UNUSABLE = object()

SHOWN_LENGTH = 40


class Reader:
    """Reads one document. `folder` is what relative files are relative to; `problems` collects what was wrong."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.environ = environ
        self.problems: list[Problem] = []

    def read(self, value: Any, expected: inspect.Type, path: str) -> Any:
        """`value` as `expected`, or `UNUSABLE` after its problems were noted."""
        if isinstance(expected, inspect.Metadata):
            return self.read(value, expected.type, path)
        if isinstance(expected, inspect.UnionType):
            return self._read_optional(value, expected, path)
        reader = self._readers().get(type(expected))
        assert reader is not None, f"{path}: settings of type {expected!r} cannot be read"
        return reader(value, expected, path)

    def _readers(self) -> dict[type, Callable[[Any, Any, str], Any]]:
        return {
            inspect.BoolType: self._read_bool,
            inspect.IntType: self._read_number,
            inspect.FloatType: self._read_number,
            inspect.StrType: self._read_str,
            inspect.LiteralType: self._read_literal,
            inspect.ListType: self._read_list,
            inspect.DictType: self._read_dict,
            inspect.StructType: self.read_struct,
            inspect.CustomType: self._read_custom,
        }

    def problem(self, path: str, message: str) -> Any:
        self.problems.append(Problem(path, message))
        return UNUSABLE

    def expected(self, path: str, what: str, value: Any) -> Any:
        return self.problem(path, f"expected {what}, got {shown(value)}")

    def read_struct(self, value: Any, expected: inspect.StructType, path: str, default: Any = None) -> Any:
        """As `read`; what `value` leaves out comes from `default`, when the whole section has one."""
        if value is None:
            value = {}
        if not isinstance(value, dict):
            return self.expected(path, "settings (name: value)", value)
        before = len(self.problems)
        fields = {field.name: field for field in expected.fields}
        files = {f"{name}_file": name for name, field in fields.items() if is_secret(field.type)}
        for key in value:
            if key not in fields and key not in files:
                self._note_unknown(key, [*fields, *files], path)
        taken: dict[str, Any] = {}
        for name, field in fields.items():
            at = joined(path, name)
            if is_secret(field.type):
                secret = self._read_secret(value, name, at)
                if secret is not None:
                    taken[name] = secret
            elif is_struct(field.type):
                section = plain(field.type)
                assert isinstance(section, inspect.StructType)
                taken[name] = self.read_struct(value.get(name), section, at, field.default)
            elif name in value:
                taken[name] = self.read(value[name], field.type, at)
            elif isinstance(field.default, Path):
                taken[name] = self.folder / field.default
            elif default is not None:
                taken[name] = getattr(default, name)
            elif field.required:
                self.problem(at, f"is missing: expected {description(field.type)}")
        if len(self.problems) > before:
            return UNUSABLE
        return expected.cls(**taken)

    def _note_unknown(self, key: Any, known: list[str], path: str) -> None:
        near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
        self.problem(joined(path, str(key)), f"is no setting; {hint}")

    def _read_secret(self, value: Mapping[str, Any], name: str, path: str) -> Secret | Any | None:
        """A secret from the first of: environment, environment's file, configuration's file, configuration.

        Items of lists have no environment variable: their place in the list is not a name.
        """
        variable = environment_variable(path)
        sources: list[tuple[str, str]] = []
        if "[" not in path and variable in self.environ:
            sources.append((variable, self.environ[variable]))
        if "[" not in path and f"{variable}_FILE" in self.environ:
            sources.append(self._from_file(f"{variable}_FILE", self.environ[f"{variable}_FILE"]))
        file = value.get(f"{name}_file")
        if file is not None:
            if not isinstance(file, str):
                return self.expected(f"{path}_file", "the path of a file", file)
            sources.append(self._from_file(f"{path}_file", file))
        if value.get(name) is not None:
            if not isinstance(value[name], str):
                return self.problem(path, "expected a string: write it in quotes")
            sources.append((path, value[name]))
        if not sources:
            return None
        where, text = sources[0]
        if not text.strip():
            return self.problem(where, "is empty: give a value or remove the setting")
        return Secret(text.strip())

    def _from_file(self, where: str, name: str) -> tuple[str, str]:
        try:
            return where, (self.folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self.problem(where, f"cannot read {self.folder / name}: {reason(error)}")
            return where, "unreadable"

    def _read_optional(self, value: Any, expected: inspect.UnionType, path: str) -> Any:
        if value is None and expected.includes_none:
            return None
        (inner,) = [part for part in expected.types if not isinstance(part, inspect.NoneType)]
        return self.read(value, inner, path)

    def _read_bool(self, value: Any, _: inspect.BoolType, path: str) -> Any:
        return value if isinstance(value, bool) else self.expected(path, "true or false", value)

    def _read_number(self, value: Any, expected: inspect.IntType | inspect.FloatType, path: str) -> Any:
        kinds = (int,) if isinstance(expected, inspect.IntType) else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool) and within(value, expected)
        return value if fits else self.expected(path, description(expected), value)

    def _read_str(self, value: Any, expected: inspect.StrType, path: str) -> Any:
        if not isinstance(value, str):
            return self.expected(path, "a string in quotes" if value is not None else "a string", value)
        if len(value) < (expected.min_length or 0) or not re.search(expected.pattern or "", value):
            return self.expected(path, description(expected), value)
        return value

    def _read_literal(self, value: Any, expected: inspect.LiteralType, path: str) -> Any:
        if value in expected.values and isinstance(value, str):
            return value
        hint = " (write it in quotes)" if not isinstance(value, str) and str(value) in expected.values else ""
        return self.problem(path, f"expected {description(expected)}, got {shown(value)}{hint}")

    def _read_list(self, value: Any, expected: inspect.ListType, path: str) -> Any:
        if not isinstance(value, list) or len(value) < (expected.min_length or 0):
            return self.expected(path, description(expected), value)
        items = [self.read(item, expected.item_type, f"{path}[{index}]") for index, item in enumerate(value)]
        return UNUSABLE if any(item is UNUSABLE for item in items) else items

    def _read_dict(self, value: Any, expected: inspect.DictType, path: str) -> Any:
        if not isinstance(value, dict):
            return self.expected(path, "settings (name: value)", value)
        items = {str(key): self.read(item, expected.value_type, joined(path, str(key))) for key, item in value.items()}
        return UNUSABLE if any(item is UNUSABLE for item in items.values()) else items

    def _read_custom(self, value: Any, expected: inspect.CustomType, path: str) -> Any:
        assert expected.cls is Path, f"{path}: settings of type {expected.cls} cannot be read"
        if not isinstance(value, str) or not value:
            return self.expected(path, "the path of a file", value)
        return self.folder / value


def plain(type_: inspect.Type) -> inspect.Type:
    """The type without its documentation and without "or nothing"."""
    if isinstance(type_, inspect.Metadata):
        return plain(type_.type)
    if isinstance(type_, inspect.UnionType):
        (inner,) = [part for part in type_.types if not isinstance(part, inspect.NoneType)]
        return plain(inner)
    return type_


def is_secret(type_: inspect.Type) -> bool:
    bare = plain(type_)
    return isinstance(bare, inspect.CustomType) and bare.cls is Secret


def is_struct(type_: inspect.Type) -> bool:
    return isinstance(plain(type_), inspect.StructType)


def description(type_: inspect.Type) -> str:
    """A type in words, as the end of "expected ..."."""
    bare = plain(type_)
    match bare:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            return f"{'an integer' if isinstance(bare, inspect.IntType) else 'a number'}{bounds(bare)}"
        case inspect.LiteralType():
            return "one of " + ", ".join(f"'{value}'" for value in sorted(bare.values, key=lambda v: (len(str(v)), v)))
        case inspect.ListType():
            return "a list" + (f" of at least {bare.min_length}" if bare.min_length else "")
        case inspect.StrType():
            if bare.pattern:
                return f"a string that matches {bare.pattern}"
            return "a string of at least one character" if bare.min_length else "a string"
        case inspect.CustomType():
            return "a secret" if bare.cls is Secret else "the path of a file"
        case _:
            return "settings (name: value)"


def bounds(type_: inspect.IntType | inspect.FloatType) -> str:
    if type_.ge is not None and type_.le is not None:
        return f" from {type_.ge:g} to {type_.le:g}" if type_.le < 10**6 else f" from {type_.ge} to {type_.le}"
    if type_.ge is not None:
        return f" of at least {type_.ge}"
    return f" greater than {type_.gt}" if type_.gt is not None else ""


def within(value: float, type_: inspect.IntType | inspect.FloatType) -> bool:
    return not (
        value != value
        or (type_.ge is not None and value < type_.ge)
        or (type_.gt is not None and value <= type_.gt)
        or (type_.le is not None and value > type_.le)
    )


def environment_variable(path: str) -> str:
    return "HALFDOOR_" + path.upper().replace(".", "_")


def joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def shown(value: Any) -> str:
    """A wrong value in a message: short, and never a whole section."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "settings (name: value)"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= SHOWN_LENGTH else text[:SHOWN_LENGTH] + "…"


def reason(error: Exception) -> str:
    """An operating system's error without its number."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def type_info(cls: type[msgspec.Struct]) -> inspect.StructType:
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    return info
