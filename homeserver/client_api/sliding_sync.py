"""Simplified sliding sync, MSC4186: `POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync`."""

from __future__ import annotations

from homeserver.client_api.sync import SyncPresence
from homeserver.http.parsing import parse_body, query_enum, query_int, query_string
from homeserver.http.request import Request, Response
from homeserver.sync.services import SyncServices
from homeserver.sync.sliding.request import SlidingSyncBody, SlidingSyncRequest


class SlidingSyncApi:
    """Sliding sync."""

    def __init__(self, services: SyncServices) -> None:
        self._sliding = services.sliding
        self._timeout_max_ms = services.settings.timeout_max_ms

    async def post_sync(self, request: Request) -> Response:
        presence = query_enum(request, "set_presence", SyncPresence.ONLINE, SyncPresence)
        wanted = SlidingSyncRequest(
            requester=request.user,
            body=parse_body(request, SlidingSyncBody, allow_empty=True),
            pos=query_string(request, "pos", None) or None,
            timeout_ms=query_int(request, "timeout", 0, 0, self._timeout_max_ms, clamp=True),
            set_presence=presence.value,
        )
        return Response(await self._sliding.sync(wanted))
