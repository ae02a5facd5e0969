"""The metrics listener's one route, for an address of its own that the public does not reach."""

from __future__ import annotations

from homeserver.http.request import Request, Response
from homeserver.http.routing import Auth, Route, RouteGroup
from homeserver.metrics import Metrics


def metrics_routes(metrics: Metrics) -> list[Route]:
    """`GET /metrics` in Prometheus' text format."""

    async def get_metrics(request: Request) -> Response:
        return Response(metrics.render(), content_type=metrics.content_type)

    return [Route("GET", "/metrics", get_metrics, Auth.NONE, group=RouteGroup.METRICS)]
