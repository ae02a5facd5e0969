"""Token buckets (W13): so much at once, then so much a second, for each session, address and site."""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

from bridges.kit import Clock


class Buckets:
    """One bucket per key. At most `capacity` keys are remembered; the longest unused is forgotten first."""

    def __init__(self, clock: Clock, rate: float, burst: int, capacity: int = 50_000) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = float(burst)
        self._capacity = capacity
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, key: str) -> float:
        """0 when one may be taken now, else the seconds until then. Takes nothing."""
        level = self._level(key)
        return 0.0 if level >= 1.0 else (1.0 - level) / self._rate

    def take(self, key: str) -> bool:
        """Take one, if there is one."""
        level = self._level(key)
        allowed = level >= 1.0
        self._levels[key] = (level - 1.0 if allowed else level, self._clock.monotonic())
        self._levels.move_to_end(key)
        if len(self._levels) > self._capacity:
            self._levels.popitem(last=False)
        return allowed

    def _level(self, key: str) -> float:
        level, at = self._levels.get(key, (self._burst, self._clock.monotonic()))
        return min(self._burst, level + (self._clock.monotonic() - at) * self._rate)


def address_key(address: str) -> str:
    """The key of a visitor's address: a whole /64 is one customer of his provider."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return parsed.exploded[:19]
    return str(parsed)
