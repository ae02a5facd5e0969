"""Searching messages. Spec: Client-Server API, "Server-side Search"."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from homeserver.client_api.events import reader_of
from homeserver.http.parsing import parse_body, query_string
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam
from homeserver.protocol.filters import parse_room_event_filter
from homeserver.rooms.search import SearchRequest
from homeserver.rooms.services import RoomServices
from homeserver.users.account_data import AccountDataService

MAX_PAGE: Final = 50
MAX_CONTEXT: Final = 20
ALL_KEYS: Final = ["content.body", "content.name", "content.topic"]


class _GroupBy(msgspec.Struct):
    key: Literal["room_id", "sender"]


class _Groupings(msgspec.Struct):
    group_by: list[_GroupBy] = []


class _Context(msgspec.Struct):
    before_limit: int = 5
    after_limit: int = 5
    include_profile: bool = False


class _RoomEvents(msgspec.Struct):
    search_term: str
    keys: list[Literal["content.body", "content.name", "content.topic"]] | None = None
    filter: dict[str, Any] | None = None
    order_by: Literal["rank", "recent"] = "rank"
    event_context: _Context | None = None
    include_state: bool = False
    groupings: _Groupings | None = None


class _Categories(msgspec.Struct):
    room_events: _RoomEvents | None = None


class _Body(msgspec.Struct):
    search_categories: _Categories


class SearchApi:
    """/search."""

    def __init__(self, rooms: RoomServices, account_data: AccountDataService) -> None:
        self._search = rooms.search
        self._account_data = account_data

    async def search(self, request: Request) -> Response:
        wanted = parse_body(request, _Body).search_categories.room_events
        if wanted is None:
            return Response({"search_categories": {}})
        context = wanted.event_context
        event_filter = parse_room_event_filter(wanted.filter or {})
        limit = event_filter.limit_within(10, MAX_PAGE)
        if limit < 1:
            raise InvalidParam("'limit' must be at least 1.")
        if context is not None and (context.before_limit < 0 or context.after_limit < 0):
            raise InvalidParam("'before_limit' and 'after_limit' must not be negative.")
        found = await self._search.search(
            reader_of(request),
            SearchRequest(
                term=wanted.search_term,
                keys=ALL_KEYS if wanted.keys is None else list(dict.fromkeys(wanted.keys)),
                event_filter=event_filter,
                order_by=wanted.order_by,
                limit=limit,
                before_limit=None if context is None else min(context.before_limit, MAX_CONTEXT),
                after_limit=0 if context is None else min(context.after_limit, MAX_CONTEXT),
                include_profile=context is not None and context.include_profile,
                include_state=wanted.include_state,
                group_by=[] if wanted.groupings is None else [one.key for one in wanted.groupings.group_by],
                next_batch=query_string(request, "next_batch", None),
            ),
            await self._account_data.ignored_users(request.user.user_id),
        )
        body: dict[str, Any] = {"count": found.count, "results": found.results, "highlights": found.highlights}
        if wanted.include_state:
            body["state"] = found.state
        if wanted.groupings is not None:
            body["groups"] = found.groups
        if found.next_batch is not None:
            body["next_batch"] = found.next_batch
        return Response({"search_categories": {"room_events": body}})
