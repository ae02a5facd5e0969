"""/sync. Spec: Client-Server API, "Syncing"."""

from __future__ import annotations

import enum

from homeserver.http.parsing import query_bool, query_enum, query_int, query_string
from homeserver.http.request import Request, Response
from homeserver.protocol import strict_json
from homeserver.protocol.filters import DEFAULT_FILTER, Filter, parse_filter
from homeserver.rooms.tokens import StreamToken
from homeserver.sync.request import SyncRequest
from homeserver.sync.services import SyncServices
from homeserver.users.filters import Filters


class SyncPresence(enum.Enum):
    """`set_presence` of every kind of sync."""

    ONLINE = "online"
    UNAVAILABLE = "unavailable"
    OFFLINE = "offline"


class SyncApi:
    """/sync."""

    def __init__(self, services: SyncServices, filters: Filters) -> None:
        self._sync = services.sync
        self._timeout_max_ms = services.settings.timeout_max_ms
        self._filters = filters

    async def get_sync(self, request: Request) -> Response:
        since = query_string(request, "since", None)
        presence = query_enum(request, "set_presence", SyncPresence.ONLINE, SyncPresence)
        stable = query_bool(request, "use_state_after", False)
        unstable = query_bool(request, "org.matrix.msc4222.use_state_after", False)
        wanted = SyncRequest(
            requester=request.user,
            filter=await self._filter(request),
            since=StreamToken.parse(since) if since else None,
            full_state=query_bool(request, "full_state", False),
            use_state_after=stable or unstable,
            state_after_name="state_after" if stable else "org.matrix.msc4222.state_after",
            timeout_ms=query_int(request, "timeout", 0, 0, self._timeout_max_ms, clamp=True),
            set_presence=presence.value,
        )
        return Response(await self._sync.sync(wanted))

    async def _filter(self, request: Request) -> Filter:
        """A filter's JSON, or the id of one that was stored."""
        text = query_string(request, "filter", None, max_length=65_536)
        if not text:
            return DEFAULT_FILTER
        if text.startswith("{"):
            return parse_filter(strict_json.decode(text.encode()))
        return await self._filters.parsed_filter(request.user.user_id, text)
