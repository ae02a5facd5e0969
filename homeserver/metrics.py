"""Numbers for Prometheus, in a registry of our own. Imports nothing of ours, so that every part may count.

The hot path adds to plain integers; they become metric families only when somebody scrapes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:  # imported when somebody scrapes, since it costs memory that servers nobody scrapes keep
    from prometheus_client.core import Metric

Kind = Literal["counter", "gauge"]

LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds."""


class Metrics:
    """The registry. Parts add gauges and counters by name; `render` is what the metrics listener answers."""

    content_type: Final = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self.requests = RequestMetrics()
        self._collectors: list[Any] = [self.requests]

    def add_gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """A value that is read when scraped."""
        self._collectors.append(_Callback("gauge", name, documentation, None, lambda: {(): read()}))

    def add_counter(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """A total that only grows, kept by its owner and read when scraped; `_total` is appended to `name`."""
        self._collectors.append(_Callback("counter", name, documentation, None, lambda: {(): read()}))

    def add_labelled(
        self,
        name: str,
        documentation: str,
        labels: tuple[str, ...],
        read: Callable[[], Mapping[Any, float]],
        *,
        is_counter: bool = True,
    ) -> None:
        """A family with labels: `read` gives the value for each tuple of their values."""
        kind: Kind = "counter" if is_counter else "gauge"
        self._collectors.append(_Callback(kind, name, documentation, labels, read))

    def render(self) -> bytes:
        """All of them in Prometheus' text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        for collector in self._collectors:
            registry.register(collector)
        return generate_latest(registry)


class _Callback:
    """One family, read when scraped."""

    def __init__(
        self,
        kind: Kind,
        name: str,
        documentation: str,
        labels: tuple[str, ...] | None,
        read: Callable[[], Mapping[Any, float]],
    ) -> None:
        self._kind, self._name, self._documentation = kind, name, documentation
        self._labels, self._read = labels or (), read

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        made = CounterMetricFamily if self._kind == "counter" else GaugeMetricFamily
        family = made(self._name, self._documentation, labels=self._labels)
        for values, number in self._read().items():
            family.add_metric(values, number)
        return [family]


class RequestMetrics:
    """Requests by operation and status, their latency, and how many are in flight."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._counts: dict[tuple[str, int], int] = {}
        self._latencies: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, operation: str, status: int, seconds: float) -> None:
        """One request that was answered."""
        key = (operation, status)
        counts = self._counts
        counts[key] = counts.get(key, 0) + 1
        buckets = self._latencies.get(operation)
        if buckets is None:
            buckets = self._latencies[operation] = [0] * (len(LATENCY_BUCKETS) + 1)
            self._sums[operation] = 0.0
        buckets[bisect_left(LATENCY_BUCKETS, seconds)] += 1
        self._sums[operation] += seconds

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        requests = CounterMetricFamily(
            "halfdoor_http_requests", "Requests answered, by operation and status", labels=("operation", "status")
        )
        for (operation, status), number in self._counts.items():
            requests.add_metric((operation, str(status)), number)
        latency = HistogramMetricFamily(
            "halfdoor_http_request_seconds", "Time until the answer was ready", labels=("operation",)
        )
        for operation, buckets in self._latencies.items():
            cumulative, rows = 0, []
            for bound, number in zip((*map(str, LATENCY_BUCKETS), "+Inf"), buckets, strict=True):
                cumulative += number
                rows.append((bound, float(cumulative)))
            latency.add_metric((operation,), rows, self._sums[operation])
        flight = GaugeMetricFamily("halfdoor_http_requests_in_flight", "Requests being answered", self.in_flight)
        return [requests, latency, flight]
