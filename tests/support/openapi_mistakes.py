"""The specification's own mistakes in its schemas, put right before answers are held against them.

Each has the reason why it is the schema that is wrong: the prose of the specification says otherwise. Keep the list
short: a difference that is Halfdoor's is mended in Halfdoor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mistake:
    """One correction: `correct` changes the bundle in place and raises (KeyError) when the schema has moved."""

    reason: str
    correct: Callable[[dict[str, Any]], None]


def _operation(bundle: dict[str, Any], name: str) -> Any:
    return next(row for row in bundle["operations"] if row["operation"] == name and row["api"] == "client-server")


def _either_form_of_state(bundle: dict[str, Any]) -> None:
    answers = _operation(bundle, "getRoomStateWithKey")["answers"]
    answers["200"] = {"anyOf": answers["200"]["oneOf"]}


def _no_relay(bundle: dict[str, Any]) -> None:
    answers = _operation(bundle, "getTurnServer")["answers"]
    answers["200"] = {"anyOf": [answers["200"], {"type": "object", "maxProperties": 0}]}


def _events_without_origin(bundle: dict[str, Any]) -> None:
    bundle["$defs"]["api-server-server-definitions-invite_event"]["allOf"][0]["required"].remove("origin")


MISTAKES: tuple[Mistake, ...] = (
    Mistake("a whole event is an object too, so an event fits both forms of the `oneOf`", _either_form_of_state),
    Mistake("a server without relays cannot say so; {} is what servers answer and clients understand", _no_relay),
    Mistake(
        "no room version's event format asks for `origin`, and an invite is to be answered as it came",
        _events_without_origin,
    ),
)
