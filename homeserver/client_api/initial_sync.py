"""The ways of reading that came before /sync. Spec: Client-Server API, "Old sync", "Room previews"."""

from __future__ import annotations

from typing import Final

from homeserver.client_api.events import place_of, reader_of
from homeserver.http.parsing import query_bool, query_int, query_string
from homeserver.http.request import Request, Response
from homeserver.sync.services import SyncServices

MAX_PAGE: Final = 100


class InitialSyncApi:
    """/initialSync, /rooms/{roomId}/initialSync, /events and /events/{eventId}."""

    def __init__(self, sync: SyncServices) -> None:
        self._initial_sync = sync.initial_sync
        self._timeout_max_ms = sync.settings.timeout_max_ms

    async def get_initial_sync(self, request: Request) -> Response:
        return Response(
            await self._initial_sync.everything(
                request.user,
                limit=query_int(request, "limit", 16, minimum=1, maximum=MAX_PAGE, clamp=True),
                archived=query_bool(request, "archived", False),
            )
        )

    async def get_room_initial_sync(self, request: Request) -> Response:
        limit = query_int(request, "limit", 16, minimum=1, maximum=MAX_PAGE, clamp=True)
        return Response(await self._initial_sync.room(reader_of(request), request.path_params["room_id"], limit=limit))

    async def get_events(self, request: Request) -> Response:
        chunk, start, end = await self._initial_sync.events(
            reader_of(request),
            start=place_of(request, "from"),
            timeout_ms=query_int(request, "timeout", 0, 0, self._timeout_max_ms, clamp=True),
            room_id=query_string(request, "room_id", None) or None,
        )
        return Response({"chunk": chunk, "start": start, "end": end})

    async def get_event(self, request: Request) -> Response:
        return Response(await self._initial_sync.event(reader_of(request), request.path_params["event_id"]))
