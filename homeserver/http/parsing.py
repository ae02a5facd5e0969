"""Bodies and query parameters: parsed at the door, so that handlers and services can trust the type.

Every refusal is an error of the spec with a sentence naming the place (`$.user.name` in a body, the parameter's name in
a query) and what was expected there.
"""

from __future__ import annotations

import enum
import re
from typing import Any, Final, TypeVar, overload
from urllib.parse import unquote_to_bytes

import msgspec

from homeserver.http.request import Request
from homeserver.protocol import strict_json
from homeserver.protocol.errors import BadJson, InvalidParam, MissingParam

T = TypeVar("T")
D = TypeVar("D")
E = TypeVar("E", bound=enum.Enum)

MAX_QUERY_PARAMETERS: Final = 200
MAX_SAFE_INTEGER: Final = 2**53 - 1


def parse_body(request: Request, kind: type[T], *, allow_empty: bool = False) -> T:
    """The body as a typed struct. `allow_empty` reads a body of no bytes as `{}`.

    Raises NotJson or BadJson (strict decoding, wrong type) or MissingParam (a required member is absent).
    """
    value = {} if allow_empty and not request.body else strict_json.decode(request.body)
    return convert(value, kind)


def parse_object(request: Request, *, allow_empty: bool = False) -> dict[str, Any]:
    """The body as a JSON object of any shape. Raises NotJson, or BadJson when it is not an object."""
    value = {} if allow_empty and not request.body else strict_json.decode(request.body)
    if not isinstance(value, dict):
        raise BadJson(f"The body must be a JSON object, not {_described(value)}.")
    return value


def convert(value: Any, kind: type[T]) -> T:
    """A decoded JSON value as `kind`, without coercion. Raises BadJson or MissingParam with a sentence."""
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None


_MISSING = re.compile(r"Object missing required field `([^`]*)`(?: - at `\$\.?(.*)`)?$")
_LOCATED = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)
_TYPE_WORDS: Final = {
    "`str`": "a string",
    "`int`": "an integer",
    "`float`": "a number",
    "`bool`": "true or false",
    "`object`": "an object",
    "`array`": "an array",
    "`null`": "null",
}


def _refusal(text: str) -> BadJson | MissingParam:
    """msgspec's message as a sentence of ours."""
    missing = _MISSING.match(text)
    if missing:
        place = f"{missing[2]}.{missing[1]}" if missing[2] else missing[1]
        return MissingParam(f"The body lacks the required member {place!r}.")
    located = _LOCATED.match(text)
    assert located is not None
    what = re.sub(r"`[^`]*`", lambda found: _words(found[0]), located["what"])
    what = what[:1].lower() + what[1:]
    place = (located["path"] or "$").removeprefix("$").removeprefix(".")
    return BadJson(f"The body is not right at {place!r}: {what}." if place else f"The body is not right: {what}.")


def _words(types: str) -> str:
    """`str | null` as "a string or null"."""
    return " or ".join(_TYPE_WORDS.get(f"`{name.strip()}`", name.strip()) for name in types.strip("`").split("|"))


def _described(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    return {str: "a string", int: "a number", float: "a number", list: "an array"}.get(type(value), "something else")


def parse_query(text: str) -> dict[str, list[str]]:
    """The raw query string of a request target. Raises InvalidParam: bad encoding, NUL, too many parameters."""
    query: dict[str, list[str]] = {}
    if not text:
        return query
    pairs = text.split("&")
    if len(pairs) > MAX_QUERY_PARAMETERS:
        raise InvalidParam(f"A query may have at most {MAX_QUERY_PARAMETERS} parameters.")
    for pair in pairs:
        if not pair:
            continue
        name, _, value = pair.partition("=")
        query.setdefault(_decode_query(name), []).append(_decode_query(value))
    return query


def _decode_query(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise InvalidParam("The query holds a parameter that is not UTF-8.") from None
    if "\0" in decoded:
        raise InvalidParam("The query holds a NUL character.")
    return decoded


class _Required(enum.Enum):
    REQUIRED = enum.auto()


REQUIRED: Final = _Required.REQUIRED
"""The default of a query parameter that must be given: its absence is M_MISSING_PARAM."""


def _single(request: Request, name: str, default: D | _Required) -> str | D:
    values = request.query.get(name)
    if values is None:
        if isinstance(default, _Required):
            raise MissingParam(f"The query parameter {name!r} is required.")
        return default
    if len(values) > 1:
        raise InvalidParam(f"The query parameter {name!r} may be given only once.")
    return values[0]


@overload
def query_string(request: Request, name: str, default: _Required = ..., *, max_length: int = ...) -> str: ...
@overload
def query_string(request: Request, name: str, default: D, *, max_length: int = ...) -> str | D: ...
def query_string(request: Request, name: str, default: Any = REQUIRED, *, max_length: int = 4096) -> Any:
    """One string. `max_length` in characters."""
    value = _single(request, name, default)
    if isinstance(value, str) and name in request.query and len(value) > max_length:
        raise InvalidParam(f"The query parameter {name!r} is longer than {max_length} characters.")
    return value


@overload
def query_int(
    request: Request, name: str, default: _Required = ..., minimum: int = ..., maximum: int = ..., *, clamp: bool = ...
) -> int: ...
@overload
def query_int(
    request: Request, name: str, default: D, minimum: int = ..., maximum: int = ..., *, clamp: bool = ...
) -> int | D: ...
def query_int(
    request: Request,
    name: str,
    default: Any = REQUIRED,
    minimum: int = 0,
    maximum: int = MAX_SAFE_INTEGER,
    *,
    clamp: bool = False,
) -> Any:
    """One integer in decimal digits. Beyond `maximum` it is refused, or lowered to it with `clamp` (for page limits,
    where a server may always answer with less)."""
    if name not in request.query:
        return _single(request, name, default)
    text = _single(request, name, "")
    if not re.fullmatch(r"-?[0-9]{1,17}", text):
        raise InvalidParam(f"The query parameter {name!r} must be an integer.")
    value = int(text)
    if clamp and value > maximum:
        return maximum
    if not minimum <= value <= maximum:
        raise InvalidParam(f"The query parameter {name!r} must be between {minimum} and {maximum}.")
    return value


@overload
def query_bool(request: Request, name: str, default: _Required = ...) -> bool: ...
@overload
def query_bool(request: Request, name: str, default: D) -> bool | D: ...
def query_bool(request: Request, name: str, default: Any = REQUIRED) -> Any:
    """`true` or `false`."""
    if name not in request.query:
        return _single(request, name, default)
    text = _single(request, name, "")
    if text not in ("true", "false"):
        raise InvalidParam(f"The query parameter {name!r} must be true or false.")
    return text == "true"


@overload
def query_enum(request: Request, name: str, default: _Required, kind: type[E]) -> E: ...
@overload
def query_enum(request: Request, name: str, default: D, kind: type[E]) -> E | D: ...
def query_enum(request: Request, name: str, default: Any, kind: type[E]) -> Any:
    """One of the values of an enumeration whose values are strings."""
    if name not in request.query:
        return _single(request, name, default)
    text = _single(request, name, "")
    try:
        return kind(text)
    except ValueError:
        choices = ", ".join(str(member.value) for member in kind)
        raise InvalidParam(f"The query parameter {name!r} must be one of: {choices}.") from None


def query_list(request: Request, name: str, *, max_items: int = 100, max_length: int = 4096) -> list[str]:
    """Every value of a repeated parameter; [] when it is absent."""
    values = request.query.get(name, [])
    if len(values) > max_items:
        raise InvalidParam(f"The query parameter {name!r} may be given at most {max_items} times.")
    if any(len(value) > max_length for value in values):
        raise InvalidParam(f"A value of the query parameter {name!r} is longer than {max_length} characters.")
    return list(values)
