"""What nobody should send: values, mutations of a good body, and bodies that are hardly JSON."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

DEEP: Any = None
for _ in range(90):
    DEEP = {"a": [DEEP]}

TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\u202e\u200b",
    "你好世界",
    "👩‍👩‍👧‍👦" * 20,
    "é" * 300,
    "x" * 256,
    "x" * 5_000,
    "x" * 70_000,
    "'; DROP TABLE events; --",
    '" OR ""="',
    "%s%n%00",
    "%",
    "_",
    "*",
    "*a*a*a*a*a*a*a*a*b",
    "\\",
    "(a+)+$",
    "../../etc/passwd",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "\r\nSet-Cookie: a=b",
    "NaN",
    "-1",
    "9007199254740993",
    "true",
    "null",
    "[]",
    "{}",
    "\uffff",
    "\u2028",
    "@",
    "@:",
    "@a:",
    "!",
    "$",
    "#",
    "mxc://",
    "mxc://a/../b",
    "http://127.0.0.1/",
    "http://[::1",
    "javascript:alert(1)",
    "m.room.create",
    "m.",
    ":",
)
NUMBERS = (0, -1, 1, 2, 255, 2**31, 2**32, 2**53 - 1, 2**53, 2**63 - 1, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e300)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, {"a": {}}, [1, "a"], DEEP)


def text(chance: random.Random) -> str:
    if chance.random() < 0.2:
        return "".join(chr(chance.choice((chance.randrange(1, 128), chance.randrange(160, 0xD7FF)))) for _ in range(8))
    return chance.choice(TEXTS)


def value(chance: random.Random) -> Any:
    which = chance.random()
    if which < 0.5:
        return text(chance)
    if which < 0.75:
        return chance.choice(NUMBERS)
    return copy.deepcopy(chance.choice(OTHERS))


def spoil(body: Any, chance: random.Random) -> Any:
    """The body with one or two things in it changed."""
    spoilt = json.loads(json.dumps(body))
    for _ in range(chance.choice((1, 1, 2))):
        places = list(_places(spoilt))
        if not places or chance.random() < 0.05:
            return value(chance)
        holder, key = chance.choice(places)
        deed = chance.random()
        if deed < 0.2:
            del holder[key]
        elif deed < 0.3:
            holder[key] = [holder[key]]
        elif deed < 0.4:
            holder[key] = {text(chance): holder[key]}
        elif deed < 0.5 and isinstance(holder, dict):
            holder[text(chance)] = holder.pop(key)
        elif deed < 0.6 and isinstance(holder, list):
            holder.extend([holder[key]] * chance.choice((1, 2, 300)))
        else:
            holder[key] = value(chance)
    return spoilt


def _places(body: Any) -> Any:
    waiting = [body]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in list(keys)[:50]:
            yield holder, key
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])


def raw(body: bytes, chance: random.Random) -> bytes:
    """Bytes that are hardly JSON, most of them made of a good body."""
    which = chance.randrange(14)
    if which == 0:
        return b""
    if which == 1:
        return body[: chance.randrange(len(body) + 1)]
    if which == 2:
        return body + b"}"
    if which == 3:
        return b"\xef\xbb\xbf" + body
    if which == 4:
        return b"[" * 100_000
    if which == 5:
        return b'{"a":' * 100_000
    if which == 6:
        return body.replace(b'"', b"'")
    if which == 7:
        return b'{"a":NaN,"b":Infinity,"c":1e400,"d":-0}'
    if which == 8:
        return b'{"a":"\\ud800","b":"\\udc00\\ud800"}'
    if which == 9:
        return body.replace(b'":"', b'":"\\ud83d', 1)
    if which == 10:
        return body.replace(b'":"', b'":"\xff\xfe', 1)
    if which == 11:
        return body.replace(b'":"', b'":"\\u0000', 1)
    if which == 12:
        return b'{"a":1,"a":2,' + body[1:]
    return chance.randbytes(chance.choice((1, 10, 1_000)))
