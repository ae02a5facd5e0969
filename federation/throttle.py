"""How often something may be done, by who does it: so many at once, and so many a second in the long run."""

from __future__ import annotations

from typing import Final

from homeserver.clock import Clock

KEPT: Final = 10_000


class Throttle:
    """Remembers those who did it lately."""

    def __init__(self, clock: Clock, burst: int, per_second: float) -> None:
        self._clock = clock
        self._burst = burst
        self._per_second = per_second
        self._left: dict[str, tuple[float, float]] = {}

    def may(self, who: str) -> bool:
        """Whether it may be done once more now; then it counts as done."""
        now = self._clock.monotonic()
        left, since = self._left.pop(who, (float(self._burst), now))
        left = min(left + (now - since) * self._per_second, float(self._burst))
        if len(self._left) >= KEPT:
            self._left.pop(next(iter(self._left)))
        self._left[who] = (left - 1 if left >= 1 else left, now)
        return left >= 1
