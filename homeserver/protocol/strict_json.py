"""The one decoder for JSON that others sent: request bodies, answers of other servers, files of other programs.

It refuses, as NotJson, what is not JSON: NaN, Infinity, a byte order mark, invalid UTF-8, half surrogate pairs,
anything after the value. And, as BadJson, JSON that we could not keep and serve again: numbers beyond a double (1e400),
integers of more than 64 bits, U+0000 in a string or key (PostgreSQL cannot store it), more than 100 levels of nesting.

Where an object names a key twice the last one counts, as in Synapse and in every decoder made on Python's: refusing
would cut off clients that work today, and nothing of ours looks at the bytes again after this function.
Floats, and integers beyond 2^53-1, are JSON: whether they may stand somewhere is for `canonical_json.check` to say.
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.protocol.canonical_json import MAX_DEPTH
from homeserver.protocol.errors import BadJson, NotJson

_decode = msgspec.json.Decoder().decode


def decode(data: bytes) -> Any:
    """The value that `data` encodes. Raises NotJson or BadJson."""
    try:
        value = _decode(data)
    except msgspec.ValidationError as error:
        raise BadJson(f"The body holds a number that is out of range: {error}") from error
    except msgspec.DecodeError as error:
        raise NotJson(f"The body is not JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise NotJson("The body is not JSON: it is not valid UTF-8") from error
    except RecursionError as error:
        raise BadJson(f"The JSON is nested more than {MAX_DEPTH} levels deep") from error
    _check(value)
    return value


def _check(value: Any) -> None:
    """Refuse what we could not keep. A walk over the value costs less than looking for the same things in the bytes."""
    level = [value]
    depth = 0
    while level:
        below: list[Any] = []
        nested = False
        for item in level:
            kind = type(item)
            if kind is str:
                if "\0" in item:
                    raise BadJson("A string in the body holds the character U+0000")
            elif kind is dict:
                nested = True
                below += item
                below += item.values()
            elif kind is list:
                nested = True
                below += item
            elif kind is int and not -(2**63) <= item < 2**63:
                raise BadJson("An integer in the body has more than 64 bits")
        if nested:
            depth += 1
            if depth > MAX_DEPTH:
                raise BadJson(f"The JSON is nested more than {MAX_DEPTH} levels deep")
        level = below
