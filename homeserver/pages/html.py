"""The template: text becomes HTML by escaping, and in no other way (row F08 of the known attacks)."""

from __future__ import annotations

import html
from collections.abc import Iterable
from string import Formatter
from typing import Any, Final


class Html(str):
    """Text that is HTML already. Only literals of our own source and results of this module become one."""

    __slots__ = ()


class _Escaping(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        return value if isinstance(value, Html) else html.escape(str(value), quote=True)

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        """Plain names alone: a template cannot reach into a value."""
        if not field_name.isidentifier():
            raise ValueError(f"A template has plain names only, not {field_name!r}.")
        return kwargs[field_name], field_name


_FORMATTER: Final = _Escaping()


def fill(template: str, **values: object) -> Html:
    """`template` (HTML, a literal) with each `{name}` replaced by its value: escaped, unless it is `Html`. Every
    attribute in a template stands in double quotes."""
    return Html(_FORMATTER.vformat(template, (), values))


def text(value: str) -> Html:
    """A text as HTML."""
    return Html(html.escape(value, quote=True))


def join(parts: Iterable[Html]) -> Html:
    """One after another."""
    return Html("".join(parts))
