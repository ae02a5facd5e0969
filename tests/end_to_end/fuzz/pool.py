"""Real things of earlier answers, so that later requests speak of rooms, events and devices that exist."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from typing import Any

KEPT = 120
LOOKED_AT = 400
PREFIXES = {"!": "room", "@": "user", "$": "event", "#": "alias"}
NAMES = {
    "device_id": "device",
    "next_batch": "token",
    "prev_batch": "token",
    "start": "token",
    "end": "token",
    "pos": "pos",
    "filter_id": "filter",
    "session": "session",
    "session_id": "session_key",
    "version": "version",
    "refresh_token": "refresh_token",
    "login_token": "login_token",
    "delay_id": "delay",
    "sid": "sid",
    "pushkey": "pushkey",
    "rule_id": "rule",
    "token": "registration_token",
    "client_id": "client",
    "device_code": "code",
    "user_code": "code",
    "delete_id": "deletion",
    "id": "id",
}


class Pool:
    """The newest `KEPT` things of each kind."""

    def __init__(self) -> None:
        self._kinds: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=KEPT))

    def add(self, kind: str, *values: str) -> None:
        for value in values:
            if value not in self._kinds[kind]:
                self._kinds[kind].append(value)

    def pick(self, kind: str, chance: random.Random) -> str | None:
        kept = self._kinds.get(kind)
        return chance.choice(kept) if kept else None

    def every(self, kind: str) -> list[str]:
        return list(self._kinds.get(kind, ()))

    def learn(self, answer: Any) -> None:
        """Keep what an answer names, looking at no more than `LOOKED_AT` of its values."""
        waiting: deque[tuple[str, Any]] = deque([("", answer)])
        looked = 0
        while waiting and looked < LOOKED_AT:
            looked += 1
            name, value = waiting.popleft()
            if isinstance(value, dict):
                for key, inner in value.items():
                    self._learn_text("", key)
                    waiting.append((key, inner))
            elif isinstance(value, list):
                waiting.extend((name, inner) for inner in value)
            elif isinstance(value, str):
                self._learn_text(name, value)

    def _learn_text(self, name: str, text: str) -> None:
        if not text or len(text) > 255:
            return
        kind = PREFIXES.get(text[0])
        if kind is not None:
            self.add(kind, text)
        elif text.startswith("mxc://"):
            self.add("mxc", text)
            self.add("media", text.rpartition("/")[2])
        elif name in NAMES:
            self.add(NAMES[name], text)
