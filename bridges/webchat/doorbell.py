"""Who is looking at which conversation. The bell only says that something is new: each connection reads from its own
place, so one that misses a ring, or gets one too many, still sends every event once and in order."""

from __future__ import annotations

from typing import Any, Protocol


class Listener(Protocol):
    def ring(self) -> None: ...

    def tell(self, frame: dict[str, Any]) -> None: ...


class Doorbell:
    """Connections by conversation."""

    def __init__(self) -> None:
        self._listeners: dict[str, set[Listener]] = {}

    def add(self, conversation: str, listener: Listener) -> None:
        self._listeners.setdefault(conversation, set()).add(listener)

    def remove(self, conversation: str, listener: Listener) -> None:
        listeners = self._listeners.get(conversation, set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop(conversation, None)

    def ring(self, conversation: str) -> None:
        """There are new events."""
        for listener in tuple(self._listeners.get(conversation, ())):
            listener.ring()

    def tell(self, conversation: str, frame: dict[str, Any]) -> None:
        """Something that is true for a moment; whoever is not looking misses it."""
        for listener in tuple(self._listeners.get(conversation, ())):
            listener.tell(frame)
