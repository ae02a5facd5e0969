"""How long messages are kept, for clients that tell their users (MSC1763)."""

from __future__ import annotations

from typing import Any

from homeserver.http.request import Request, Response
from homeserver.http.routing import Auth, RateClass, Route
from homeserver.rooms.retention import Retention

PATH = "/_matrix/client/unstable/org.matrix.msc1763/retention/configuration"


def retention_routes(retention: Retention) -> list[Route]:
    """Nothing where messages do not expire."""
    if not retention.settings.enabled:
        return []
    return [Route("GET", PATH, RetentionApi(retention).get_configuration, Auth.USER, RateClass.READ)]


class RetentionApi:
    """/retention/configuration."""

    def __init__(self, retention: Retention) -> None:
        self._settings = retention.settings

    async def get_configuration(self, request: Request) -> Response:
        """Times in milliseconds; the policy `*` is that of rooms that have none of their own."""
        settings = self._settings
        bounds = {"min": settings.minimum_ms, "max": settings.maximum_ms}
        limits: dict[str, Any] = {name: value for name, value in bounds.items() if value is not None}
        return Response(
            {
                "policies": {} if settings.default_ms is None else {"*": {"max_lifetime": settings.default_ms}},
                "limits": {"max_lifetime": limits} if limits else {},
            }
        )
