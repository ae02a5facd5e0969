"""Makes the transcripts of two servers comparable: what each server makes up for itself gets a name of our own.

Event ids are named after the step that sent them or after what the event is; rooms and devices after the step that
made them; tokens, times and the words of errors become placeholders.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

from tests.end_to_end.comparison.player import Step, Transcript

TOKENS = frozenset({"next_batch", "prev_batch", "start", "end", "access_token", "refresh_token", "session", "from"})
TIMES = frozenset(
    {"origin_server_ts", "ts", "age", "last_active_ago", "last_seen_ts", "expires_in_ms", "retry_after_ms", "age_ts"}
    | {"expires_in", "received_ts", "m.ts", "expiry_ts"}
)
SECRETS = frozenset({"hashes", "signatures"})
ADDRESSES = frozenset({"last_seen_ip", "ip"})
OPAQUE_EVENT_ID = re.compile(r"^\$[A-Za-z0-9_-]{43}$")
OPAQUE_ROOM_ID = re.compile(r"^![A-Za-z0-9_-]{18,43}(:.*)?$")


def normalised(transcript: Transcript) -> list[Step]:
    """The steps with every made-up value replaced."""
    names = Names(transcript)
    for step in transcript.steps:
        names.learn(step)
    return [replace(step, body=_replaced(step.body, "", names)) for step in transcript.steps]


class Names:
    """What the ids of one transcript are called."""

    def __init__(self, transcript: Transcript) -> None:
        base = transcript.base_url
        self._names = {base: "<base url>", f"{base}/": "<base url>/", **transcript.devices}
        self._counts: Counter[str] = Counter()

    def of(self, text: str) -> str:
        """The name of an id; other text is its own name."""
        if text in self._names:
            return self._names[text]
        if OPAQUE_EVENT_ID.match(text):
            return "$(unknown event)"
        if OPAQUE_ROOM_ID.match(text):
            return "!(unknown room)"
        return text

    def learn(self, step: Step) -> None:
        """Name what a step's answer brings."""
        if isinstance(step.body, dict):
            self._name(step.body.get("room_id"), f"!({step.name})")
            self._name(step.body.get("replacement_room"), f"!({step.name})")
            if "type" not in step.body:
                self._name(step.body.get("event_id"), f"$({step.name})")
            if "access_token" in step.body or "refresh_token" in step.body:
                self._name(step.body.get("device_id"), f"({step.name}: device)", made_up=re.compile(r"^[A-Z]{8,}$"))
        self._learn_events(step.body, "")

    def _learn_events(self, value: Any, room: str) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("event_id"), str) and isinstance(value.get("type"), str):
                self._learn_event(value, room)
            for key, inner in value.items():
                self._learn_events(inner, self.of(str(key)) if str(key).startswith("!") else room)
        elif isinstance(value, list):
            for inner in value:
                self._learn_events(inner, room)

    def _learn_event(self, event: dict[str, Any], room: str) -> None:
        if event["event_id"] in self._names:
            return
        place = self.of(str(event.get("room_id", room)))
        content = event.get("content")
        membership = content.get("membership", "") if isinstance(content, dict) else ""
        what = f"{event['type']}|{event.get('state_key', '-')}|{event.get('sender')}|{membership}|{place}"
        self._counts[what] += 1
        self._name(event["event_id"], f"$({what}|{self._counts[what]})")

    def _name(self, identifier: Any, name: str, made_up: re.Pattern[str] | None = None) -> None:
        if isinstance(identifier, str) and (made_up is None or made_up.match(identifier)):
            self._names.setdefault(identifier, name)


def _replaced(value: Any, key: str, names: Names) -> Any:
    if isinstance(value, dict):
        if key in SECRETS:
            return f"<{key}>"
        return {names.of(name): _replaced(inner, name, names) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, key, names) for inner in value]
    if isinstance(value, str):
        if key in TOKENS:
            return f"<{key}>"
        if key == "error":
            return "<sentence>" if value else "<empty>"
        if key in ADDRESSES:
            return "<address>"
        return names.of(value)
    if isinstance(value, int) and not isinstance(value, bool) and key in TIMES:
        return "<time>"
    if key == "rank":
        return "<rank>"
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>" if value else "<no body>"
    return value
