"""The settings as a list of described entries: what the sample and the reference page are written from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import NODEFAULT, inspect

from config.reading import plain, type_info
from config.settings import Settings


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting. `default` is NODEFAULT when it must be given; `example` is NODEFAULT when the default shows it."""

    name: str
    type: inspect.Type
    text: str
    default: Any
    example: Any

    @property
    def section(self) -> inspect.StructType | None:
        """The settings inside it, when it is a section or a list of sections."""
        bare = plain(self.type)
        if isinstance(bare, inspect.ListType):
            bare = plain(bare.item_type)
        return bare if isinstance(bare, inspect.StructType) else None

    @property
    def is_small(self) -> bool:
        """Whether it is a section of at most two plain settings, which are better read on one line."""
        section = self.section
        if section is None or self.is_list or len(section.fields) > 2 or self.default is NODEFAULT:
            return False
        return all(not isinstance(plain(field.type), inspect.StructType | inspect.ListType) for field in section.fields)

    @property
    def is_list(self) -> bool:
        return isinstance(plain(self.type), inspect.ListType)


def entries(struct: inspect.StructType | None = None, default: Any = None) -> Iterator[Entry]:
    """The settings of a section (the whole configuration when None), with `default`'s values where it is given."""
    for field in (struct or type_info(Settings)).fields:
        value = field.default
        if field.default_factory is not NODEFAULT:
            value = field.default_factory()
        if default is not None:
            value = getattr(default, field.name)
        schema: dict[str, Any] = field.type.extra_json_schema or {} if isinstance(field.type, inspect.Metadata) else {}
        examples = schema.get("examples") or [NODEFAULT]
        yield Entry(field.name, field.type, schema.get("description", ""), value, examples[0])


def summary(struct: inspect.StructType) -> str:
    """A section's docstring."""
    return " ".join((struct.cls.__doc__ or "").split())


def as_yaml(value: Any) -> str:
    """A value as it is written in YAML, on one line."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, msgspec.Struct):
        return as_yaml(msgspec.structs.asdict(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ", ".join(as_yaml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        is_plain = (
            bool(value) and (value[0].isalpha() or value[0] == "/") and not set(value) & set(" #'\"{}[],&*!|>%@`")
        )
        return (
            value if is_plain and ": " not in value and not value.endswith(":") else msgspec.json.encode(value).decode()
        )
    return repr(value)
