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


class FederationAdminApi:
    """/federation/destinations. Where this server federates, `reset` is set, which forgets the failures of a server,
    and `told`: up to which position a server was told of our events."""

    def __init__(self, db: Database) -> None:
        self._destinations = DestinationStore(db)
        self._rooms = RoomListingStore(db)
        self.reset: Callable[[str], Awaitable[None]] | None = None
        self.told: Callable[[str], int] | None = None

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
        """Rooms in which users of that server are, with the newest event of this server's in each."""
        destination, page = await self._get(request), page_of(request)
        found = await self._rooms.list_rooms_of_server(destination.server_name)
        page_ids = (found[::-1] if is_backwards(request) else found)[page.start : page.start + page.limit]
        newest = await self._destinations.find_own_newest(page_ids)
        shown = [{"room_id": room_id, "stream_ordering": newest.get(room_id, 0)} for room_id in page_ids]
        return Response({"rooms": shown, "total": len(found), **page.next_token(len(shown), len(found))})

    async def reset_connection(self, request: Request) -> Response:
        destination = await self._get(request)
        if self.reset is None:
            raise InvalidParam("This server does not federate, or does not run.")
        if not destination.failures and not destination.retry_at_ts:
            raise InvalidParam("The retry timing does not need to be reset for this destination.")
        await self.reset(destination.server_name)
        return Response()

    async def _get(self, request: Request) -> Destination:
        destination = await self._destinations.find_destination(request.path_params["destination"])
        if destination is None:
            raise NotFound("Unknown destination")
        return destination

    def _shown(self, destination: Destination) -> dict[str, Any]:
        told = destination.sent_position
        if self.told is not None:
            told = max(told, self.told(destination.server_name))
        return {
            "destination": destination.server_name,
            "retry_last_ts": destination.tried_at_ts,
            "retry_interval": max(destination.retry_at_ts - destination.tried_at_ts, 0),
            "failure_ts": destination.failing_since_ts or None,
            "last_successful_stream_ordering": told or None,
        }
