"""Which threads somebody follows (MSC4306), and what changed of that (MSC4308)."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from homeserver.client_api.events import place_of
from homeserver.http.parsing import parse_body, query_int, query_string
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam
from homeserver.rooms.services import RoomServices
from homeserver.rooms.thread_subscriptions import as_json
from homeserver.rooms.tokens import place_after

MAX_PAGE: Final = 512


class _Subscription(Struct):
    automatic: str | None = None


class ThreadSubscriptionApi:
    """/thread/{rootId}/subscription and /thread_subscriptions."""

    def __init__(self, rooms: RoomServices) -> None:
        self._subscriptions = rooms.thread_subscriptions
        self._store = rooms.store

    async def get_subscription(self, request: Request) -> Response:
        params = request.path_params
        found = await self._subscriptions.get(request.user.user_id, params["room_id"], params["root_id"])
        return Response({"automatic": found.is_automatic})

    async def set_subscription(self, request: Request) -> Response:
        body, params = parse_body(request, _Subscription, allow_empty=True), request.path_params
        await self._subscriptions.subscribe(
            request.user.user_id, params["room_id"], params["root_id"], cause_id=body.automatic
        )
        return Response({})

    async def delete_subscription(self, request: Request) -> Response:
        params = request.path_params
        await self._subscriptions.unsubscribe(request.user.user_id, params["room_id"], params["root_id"])
        return Response({})

    async def list_subscriptions(self, request: Request) -> Response:
        if query_string(request, "dir") != "b":
            raise InvalidParam("dir must be b.")
        newest, oldest = place_of(request, "from"), place_of(request, "to")
        changes, more = await self._subscriptions.list_changes(
            request.user.user_id,
            0 if oldest is None else oldest,
            self._store.position if newest is None else newest,
            query_int(request, "limit", 100, minimum=1, maximum=MAX_PAGE, clamp=True),
        )
        body: dict[str, Any] = dict(as_json(changes))
        if more is not None:
            body["end"] = place_after(more)
        return Response(body)
