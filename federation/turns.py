"""Whose turn it is to be sent to: many at a time, but not all, and none that answers waits for one that does not (B30).

There are three lanes, which take nothing from each other: servers that answered when they were last asked, servers that
were never asked, and servers that did not answer. In a lane so many are asked at a time; whoever takes longer than a
few seconds makes room for the next, up to a second limit. So memory, sockets and threads have a bound, and a lane full
of servers that let us wait still moves.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from homeserver.clock import Clock, Timer

PATIENCE_SECONDS: Final = 3.0


class Lane(enum.Enum):
    """How a server did when it was last asked; (how many at a time, how many with those that take long)."""

    ANSWERING = (64, 160)
    NEW = (32, 240)
    FAILING = (8, 16)


@dataclass(slots=True)
class _Traffic:
    """What goes on in a lane."""

    waiting: deque[str] = field(default_factory=deque)
    quick: int = 0
    slow: int = 0


class Turns:
    """Gives turns: `start(name)` is called when one has come, and `done(name)` ends it."""

    def __init__(self, clock: Clock, lane_of: Callable[[str], Lane], start: Callable[[str], None]) -> None:
        self._clock = clock
        self._lane_of = lane_of
        self._start = start
        self._lanes = {lane: _Traffic() for lane in Lane}
        self._waiting: set[str] = set()
        self._running: dict[str, tuple[Lane, Timer | None]] = {}

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many have it."""
        return len(self._running)

    def has_asked(self, name: str) -> bool:
        """Whether it waits for a turn, or has it."""
        return name in self._waiting or name in self._running

    def ask(self, name: str) -> None:
        """Want a turn; nothing happens when it is wanted already or under way."""
        if self.has_asked(name):
            return
        lane = self._lane_of(name)
        self._waiting.add(name)
        self._lanes[lane].waiting.append(name)
        self._go_on(lane)

    def done(self, name: str) -> None:
        """The turn is over."""
        lane, timer = self._running.pop(name)
        if timer is None:
            self._lanes[lane].slow -= 1
        else:
            timer.cancel()
            self._lanes[lane].quick -= 1
        self._go_on(lane)

    def _go_on(self, lane: Lane) -> None:
        traffic, (quick, both) = self._lanes[lane], lane.value
        while traffic.waiting and traffic.quick < quick and traffic.quick + traffic.slow < both:
            name = traffic.waiting.popleft()
            self._waiting.discard(name)
            traffic.quick += 1
            timer = self._clock.call_later(PATIENCE_SECONDS, lambda name=name: self._takes_long(name))  # type: ignore[misc]
            self._running[name] = (lane, timer)
            self._start(name)

    def _takes_long(self, name: str) -> None:
        lane, _ = self._running[name]
        self._running[name] = (lane, None)
        self._lanes[lane].quick -= 1
        self._lanes[lane].slow += 1
        self._go_on(lane)
