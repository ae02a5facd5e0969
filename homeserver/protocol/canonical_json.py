"""Canonical JSON: the one encoding of a value that hashes and signatures cover. Spec: appendices, "Canonical JSON"."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec
from canonicaljson import encode_canonical_json

from homeserver.protocol.errors import BadJson

MAX_INTEGER: Final = 2**53 - 1
MIN_INTEGER: Final = -MAX_INTEGER
MAX_DEPTH: Final = 100
"""How many objects and arrays may be nested in one another. Not of the specification: it bounds our own recursion."""

_fast_encoder = msgspec.json.Encoder(order="deterministic")


def encode(value: Any) -> bytes:
    """The canonical bytes of any JSON value, also of the floats and big integers that room versions 1 to 5 allow.

    Raises BadJson for what is not JSON at all: NaN, infinities, lone surrogates, objects of other types.
    """
    try:
        return encode_canonical_json(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadJson(f"This value cannot be written as canonical JSON: {error}") from error


def encode_checked(value: Any) -> bytes:
    """The same bytes as `encode`, ten times as fast, for a value that has passed `check`.

    msgspec writes object keys in the same order and escapes the same characters as canonicaljson; it differs only in
    what `check` refuses (floats, and integers of more than 64 bits). A property test holds the two together.
    """
    return _fast_encoder.encode(value)


def check(value: Any) -> None:
    """Refuse what canonical JSON cannot hold; room versions 6 and later demand it of every event.

    "Numbers in the JSON must be integers in the range [-(2**53)+1, (2**53)-1], represented without exponents or decimal
    places." Raises BadJson.
    """
    _check(value, MAX_INTEGER, floats=False)


def check_legacy(value: Any) -> None:
    """Refuse what not even room versions 1 to 5 can hold. Raises BadJson.

    "Servers SHOULD be capable of handling JSON which is considered invalid by these restrictions where possible. The
    most notable consideration is that integers might not be in the range specified above." So floats and integers of
    64 bits pass; the fields of an event that a server computes with have limits of their own (`event_format`).
    """
    _check(value, 2**63 - 1, floats=True)


def _check(value: Any, max_integer: int, *, floats: bool) -> None:
    # Level by level, so that no nesting can exhaust the stack.
    level = [value]
    depth = 0
    while level:
        below: list[Any] = []
        nested = False
        for item in level:
            kind = type(item)
            if kind is str:
                if not item.isascii():
                    _check_text(item)
            elif kind is int:
                if not -max_integer <= item <= max_integer:
                    raise BadJson("An integer is outside of the range that Matrix allows, -(2^53)+1 to (2^53)-1")
            elif kind is dict:
                nested = True
                for key in item:
                    if type(key) is not str:
                        raise BadJson("The keys of a JSON object must be strings")
                    if not key.isascii():
                        _check_text(key)
                below += item.values()
            elif kind is list or kind is tuple:
                nested = True
                below += item
            elif item is not None and kind is not bool and not (floats and kind is float and math.isfinite(item)):
                raise BadJson(f"A {kind.__name__} has no place in canonical JSON; numbers must be integers")
        if nested:
            depth += 1
            if depth > MAX_DEPTH:
                raise BadJson(f"The JSON is nested more than {MAX_DEPTH} levels deep")
        level = below


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadJson("A string holds half of a surrogate pair, which is no Unicode text") from error
