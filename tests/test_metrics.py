"""Metrics in Prometheus' text format."""

from __future__ import annotations

from homeserver.http.scraping import metrics_routes
from homeserver.metrics import Metrics
from tests.support.http import MemoryClient
from tests.support.http_server import application


async def test_parts_add_their_numbers_and_prometheus_reads_them() -> None:
    metrics = Metrics()
    events = {("sqlite",): 3.0}
    metrics.add_gauge("halfdoor_rooms_in_memory", "Rooms kept in memory", lambda: 7)
    metrics.add_counter("halfdoor_commits", "Commits", lambda: 12)
    metrics.add_labelled("halfdoor_events", "Events written", ("engine",), lambda: events)
    metrics.requests.observe("getSync", 200, 0.003)
    events["sqlite",] = 4.0
    answer = await MemoryClient(application(metrics_routes(metrics))).request("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    for line in (
        "halfdoor_rooms_in_memory 7.0",
        "halfdoor_commits_total 12.0",
        'halfdoor_events_total{engine="sqlite"} 4.0',
        'halfdoor_http_requests_total{operation="getSync",status="200"} 1.0',
        'halfdoor_http_request_seconds_bucket{le="0.0025",operation="getSync"} 0.0',
        'halfdoor_http_request_seconds_bucket{le="0.005",operation="getSync"} 1.0',
        'halfdoor_http_request_seconds_count{operation="getSync"} 1.0',
    ):
        assert line in lines
