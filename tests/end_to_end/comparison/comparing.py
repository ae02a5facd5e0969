"""Compares two normalised transcripts, and holds the differences against the list of known ones."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from tests.end_to_end.comparison.normalising import normalised
from tests.end_to_end.comparison.player import Transcript

ABSENT = "<absent>"
UNORDERED_EVENTS = frozenset(
    {
        "state",
        "state_after",
        "org.matrix.msc4222.state_after",
        "account_data",
        "ephemeral",
        "presence",
        "invite_state",
        "knock_state",
    }
)
UNORDERED_LISTS = frozenset(
    {
        "joined_rooms",
        "joined",
        "devices",
        "aliases",
        "flows",
        "versions",
        "children_state",
        "changed",
        "left",
        "results",
    }
    | {"room_types", "params", "servers", "auth_events", "prev_events"}
)
IDENTITIES = ("event_id", "rule_id", "device_id", "user_id", "room_id", "type", "kind")
KNOWN_DIFFERENCES = Path(__file__).with_name("known_differences.yaml")


@dataclass(frozen=True)
class Difference:
    """One place where the second server's answer is another than the first's."""

    conversation: str
    step: str
    path: str
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.conversation} / {self.step} {self.path}: {_short(self.first)} ≠ {_short(self.second)}"


@dataclass(frozen=True)
class KnownDifference:
    """A listed difference; `*` stands for anything in `conversation`, `step` and `path`, and in the values too."""

    conversation: str
    step: str
    path: str
    reason: str
    synapse: str = "*"
    halfdoor: str = "*"

    def covers(self, difference: Difference) -> bool:
        return (
            _glob(self.conversation, difference.conversation)
            and _glob(self.step, difference.step)
            and _glob(self.path, difference.path)
            and _glob(self.synapse, _short(difference.first))
            and _glob(self.halfdoor, _short(difference.second))
        )


def differences(conversation: str, first: Transcript, second: Transcript) -> list[Difference]:
    """Where the transcripts differ, in the order of the steps; the first is the reference."""
    found: list[Difference] = []
    left = {step.name: step for step in normalised(first)}
    right = {step.name: step for step in normalised(second)}
    for name in dict.fromkeys([*left, *right]):
        if name not in left or name not in right:
            aborted = first.aborted if name not in left else second.aborted
            played = f"not played: {aborted or 'the conversation took another way'}"
            sides = ("played", played) if name in left else (played, "played")
            found.append(Difference(conversation, name, "$", *sides))
            break
        one, other = left[name], right[name]
        if one.status != other.status:
            found.append(Difference(conversation, name, "status", _outcome(one), _outcome(other)))
            continue
        unordered = frozenset({*one.unordered, *other.unordered})
        found += (
            Difference(conversation, name, path, a, b)
            for path, a, b in _compared("$", "", one.body, other.body, unordered)
        )
    return found


def read_known(file: Path = KNOWN_DIFFERENCES) -> list[KnownDifference]:
    """The listed differences; raises ValueError for an entry without a reason."""
    names = {each.name for each in fields(KnownDifference)}
    known = []
    for entry in yaml.safe_load(file.read_text(encoding="utf-8")) or []:
        if not set(entry) <= names:
            raise ValueError(f"the known difference {entry} has more than {sorted(names)}")
        values = {name: str(value) for name, value in entry.items()}
        known.append(KnownDifference(**{"conversation": "*", "step": "*", "path": "*", "reason": "", **values}))
    for one in known:
        if not one.reason.strip():
            raise ValueError(f"the known difference {one.conversation} / {one.step} {one.path} has no reason")
    return known


def _outcome(step: Any) -> str:
    errcode = step.body.get("errcode", "") if isinstance(step.body, dict) else ""
    return f"{step.status} {errcode}".strip()


def _compared(path: str, key: str, one: Any, other: Any, unordered: frozenset[str]) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys([*one, *other]):
            place = f"{path}.{name}"
            if name not in one or name not in other:
                yield place, one.get(name, ABSENT), other.get(name, ABSENT)
            else:
                inner = f"{key}.events" if name == "events" else name
                yield from _compared(place, inner, one[name], other[name], unordered)
    elif isinstance(one, list) and isinstance(other, list):
        yield from _compared_lists(path, key, one, other, unordered)
    elif one != other or isinstance(one, bool) != isinstance(other, bool):
        yield path, one, other


def _compared_lists(
    path: str, key: str, one: list[Any], other: list[Any], unordered: frozenset[str]
) -> Iterator[tuple[str, Any, Any]]:
    free = path in unordered or key in UNORDERED_LISTS or key.removesuffix(".events") in UNORDERED_EVENTS
    if free:
        one, other = sorted(one, key=_sorting), sorted(other, key=_sorting)
    keys, others = _identities(one), _identities(other)
    if not free and keys != others and sorted(keys) == sorted(others):
        yield f"{path}[order]", keys, others
        return
    for kind, a, b, c, d in difflib.SequenceMatcher(None, keys, others, autojunk=False).get_opcodes():
        if kind == "equal":
            for name, left, right in zip(keys[a:b], one[a:b], other[c:d], strict=True):
                yield from _compared(f"{path}[{name}]", "", left, right, unordered)
        else:
            yield from ((f"{path}[{keys[at]}]", one[at], ABSENT) for at in range(a, b))
            yield from ((f"{path}[{others[at]}]", ABSENT, other[at]) for at in range(c, d))


def _identities(values: Sequence[Any]) -> list[str]:
    names = []
    seen: dict[str, int] = {}
    for position, value in enumerate(values):
        name = _identity(value, position)
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names


def _identity(value: Any, position: int) -> str:
    if not isinstance(value, dict):
        return str(position) if isinstance(value, list) else _short(value)
    if "type" in value and "state_key" in value and "event_id" not in value:
        return f"{value['type']}|{value['state_key']}"
    return next((str(value[name]) for name in IDENTITIES if isinstance(value.get(name), str)), str(position))


def _sorting(value: Any) -> str:
    identity = _identity(value, 0) if isinstance(value, dict) else ""
    return identity + json.dumps(value, sort_keys=True, ensure_ascii=False)


def _glob(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), text, re.DOTALL) is not None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= 200 else text[:197] + "..."
