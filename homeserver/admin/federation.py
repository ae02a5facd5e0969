"""Other servers, for operators: which there are, which do not answer, and trying one again at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from homeserver.admin.paging import is_backwards, order_of, page_of, text_of
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam, NotFound
from homeserver.storage.database import Database
from homeserver.storage.destinations import Destination, DestinationStore
from homeserver.storage.room_listing import RoomListingStore

ORDERS: Final = (
    "destination",
    "retry_last_ts",
    "retry_interval",
    "failure_ts",
    "last_successful_stream_ordering",
)
_FIRST_PAUSE_MS: Final = 10_000
_LONGEST_PAUSE_MS: Final = 3_600_000


class FederationAdminApi:
    """/federation/destinations. `reset` is set where this server federates: it forgets the failures of a server."""

    def __init__(self, db: Database) -> None:
        self._destinations = DestinationStore(db)
        self._rooms = RoomListingStore(db)
        self.reset: Callable[[str], Awaitable[None]] | None = None

    async def list_destinations(self, request: Request) -> Response:
        page, term = page_of(request), text_of(request, "destination")
        order = order_of(request, ORDERS, "destination")
        found = [
            self._shown(one)
            for one in await self._destinations.list_destinations()
            if not term or term in one.server_name
        ]
        found.sort(key=lambda one: one["destination"])
        found.sort(
            key=lambda one: one[order] or 0 if order != "destination" else one[order], reverse=is_backwards(request)
        )
        shown = found[page.start : page.start + page.limit]
        return Response({"destinations": shown, "total": len(found), **page.next_token(len(shown), len(found))})

    async def get_destination(self, request: Request) -> Response:
        return Response(self._shown(await self._get(request)))

    async def list_rooms(self, request: Request) -> Response:
        """Rooms in which users of that server are."""
        destination, page = await self._get(request), page_of(request)
        found = await self._rooms.list_rooms_of_server(destination.server_name)
        shown = [
            {"room_id": room_id, "stream_ordering": destination.sent_position}
            for room_id in (reversed(found) if is_backwards(request) else found)
        ][page.start : page.start + page.limit]
        return Response({"rooms": shown, "total": len(found), **page.next_token(len(shown), len(found))})

    async def reset_connection(self, request: Request) -> Response:
        destination = await self._get(request)
        if self.reset is None:
            raise InvalidParam("This server does not federate.")
        if not destination.failures and not destination.retry_at_ts:
            raise InvalidParam("The retry timing does not need to be reset for this destination.")
        await self.reset(destination.server_name)
        return Response()

    async def _get(self, request: Request) -> Destination:
        wanted = request.path_params["destination"]
        for destination in await self._destinations.list_destinations():
            if destination.server_name == wanted:
                return destination
        raise NotFound("Unknown destination")

    def _shown(self, destination: Destination) -> dict[str, Any]:
        """What is kept is when it may be asked again; when it was asked last follows from that, about."""
        failing = destination.failures > 0 and destination.retry_at_ts > 0
        pause = min(_FIRST_PAUSE_MS * 2 ** (destination.failures - 1), _LONGEST_PAUSE_MS) if failing else 0
        return {
            "destination": destination.server_name,
            "retry_last_ts": destination.retry_at_ts - pause if failing else 0,
            "retry_interval": pause,
            "failure_ts": None,
            "last_successful_stream_ordering": destination.sent_position or None,
        }
