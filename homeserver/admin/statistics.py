"""Numbers for operators: whose files take how much, and which rooms are the largest."""

from __future__ import annotations

from typing import get_args

from homeserver.admin.paging import is_backwards, order_of, page_of, text_of
from homeserver.http.parsing import query_int
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam
from homeserver.rooms.room_listing import RoomListing
from homeserver.storage.database import Database
from homeserver.storage.media_statistics import MediaStatisticsStore, UsageOrder, UsageQuery


class StatisticsApi:
    """/statistics."""

    def __init__(self, db: Database, listing: RoomListing) -> None:
        self._media = MediaStatisticsStore(db)
        self._listing = listing

    async def list_media_usage(self, request: Request) -> Response:
        page = page_of(request)
        from_ts, until_ts = query_int(request, "from_ts", 0), query_int(request, "until_ts", None)
        if until_ts is not None and until_ts <= from_ts:
            raise InvalidParam("'until_ts' must be later than 'from_ts'.")
        order = order_of(request, get_args(UsageOrder), "user_id")
        query = UsageQuery(
            order_by=order,  # type: ignore[arg-type]
            descending=is_backwards(request),
            from_ms=from_ts,
            until_ms=until_ts,
            term=text_of(request, "search_term"),
            start=page.start,
            limit=page.limit,
        )
        found, total = await self._media.page_usage(query)
        users = [
            {"user_id": user_id, "displayname": name, "media_count": count, "media_length": size}
            for user_id, name, count, size in found
        ]
        return Response({"users": users, "total": total, **page.next_number(len(users), total)})

    async def list_largest_rooms(self, request: Request) -> Response:
        """By the bytes of their events."""
        found = await self._listing.largest()
        return Response({"rooms": [{"room_id": room_id, "estimated_size": size} for room_id, size in found]})
