"""Reads the configuration file: YAML to typed settings, with every mistake reported at once."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from config.checks import check
from config.problems import ConfigurationError, Problem
from config.reading import UNUSABLE, Reader, reason, type_info
from config.settings import Settings


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML, but a setting that is written twice is a mistake: PyYAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is written twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path | str, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in the file at `path`; secrets may come from `environ` (the process's own when None).

    Raises ConfigurationError, whose text lists every problem.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "; `halfdoor init` makes one" if isinstance(error, FileNotFoundError) else ""
        raise ConfigurationError(str(path), [Problem("", f"cannot read it: {reason(error)}{hint}")]) from None
    return parse(text, folder=path.resolve().parent, environ=os.environ if environ is None else environ, source=path)


def parse(
    text: str, *, folder: Path, environ: Mapping[str, str] | None = None, source: Path | str = "configuration"
) -> Settings:
    """As `load`, from text. Relative files are relative to `folder`."""
    try:
        document = yaml.load(text, UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigurationError(str(source), [Problem("", f"is not YAML: {yaml_reason(error)}")]) from None
    reader = Reader(folder, environ or {})
    settings = reader.read_struct(document, type_info(Settings), "")
    if settings is UNUSABLE:
        raise ConfigurationError(str(source), reader.problems)
    assert isinstance(settings, Settings)
    if not settings.public_base_url:
        settings = msgspec.structs.replace(settings, public_base_url=f"https://{settings.server_name}")
    settings = msgspec.structs.replace(settings, public_base_url=settings.public_base_url.rstrip("/"))
    problems = list(check(settings))
    if problems:
        raise ConfigurationError(str(source), problems)
    return settings


def yaml_reason(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error).splitlines()[0]
