"""Sending events and reading rooms.

Spec: Client-Server API, "Sending events to a room", "Getting events for a room".
"""

from __future__ import annotations

import enum
from typing import Any, Final

from homeserver.client_api.delayed_events import delay_of, sticky_of
from homeserver.http.parsing import REQUIRED, parse_object, query_enum, query_int, query_string
from homeserver.http.request import Request, Response
from homeserver.protocol import strict_json
from homeserver.protocol.filters import DEFAULT_ROOM_EVENT_FILTER, RoomEventFilter, parse_room_event_filter
from homeserver.rooms.client_events import Reader
from homeserver.rooms.delayed_events import EventToDelay
from homeserver.rooms.services import RoomServices
from homeserver.rooms.tokens import StreamToken
from homeserver.rooms.transactions import transaction_key

MAX_PAGE: Final = 1_000


class Direction(enum.Enum):
    """Which way a page goes."""

    BACKWARDS = "b"
    FORWARDS = "f"


class _StateFormat(enum.Enum):
    CONTENT = "content"
    EVENT = "event"


class _MembershipName(enum.Enum):
    JOIN = "join"
    INVITE = "invite"
    KNOCK = "knock"
    LEAVE = "leave"
    BAN = "ban"


def reader_of(request: Request) -> Reader:
    """For whom events are serialised."""
    return Reader(request.user.user_id, request.user.device_id)


def place_of(request: Request, name: str) -> int | None:
    """The place in the stream that a query parameter names, if it is given."""
    text = query_string(request, name, None)
    return None if text is None or text == "" else StreamToken.parse(text).position


def event_filter_of(request: Request) -> RoomEventFilter:
    """The `filter` query parameter of `/messages` and `/context`: JSON of a RoomEventFilter."""
    text = query_string(request, "filter", None, max_length=65_536)
    if text is None:
        return DEFAULT_ROOM_EVENT_FILTER
    return parse_room_event_filter(strict_json.decode(text.encode()))


class EventApi:
    """Events: sent, redacted, read singly and by the page; state, members."""

    def __init__(self, rooms: RoomServices) -> None:
        self._rooms = rooms

    # ---- sending

    async def send_message(self, request: Request) -> Response:
        params = request.path_params
        delay_ms = delay_of(request)
        if delay_ms is not None:
            return await self._delay(request, delay_ms, None)
        event_id = await self._rooms.sending.send_message(
            request.user,
            params["room_id"],
            params["event_type"],
            params["txn_id"],
            parse_object(request),
            origin_server_ts=_timestamp(request),
            sticky_ms=sticky_of(request),
        )
        return Response({"event_id": event_id})

    async def _delay(self, request: Request, delay_ms: int, state_key: str | None) -> Response:
        params, user = request.path_params, request.user
        key: str | None = None
        if "txn_id" in params:
            key = transaction_key(user.device_id or "", params["event_type"], params["txn_id"])
        event = EventToDelay(
            params["room_id"],
            params["event_type"],
            state_key,
            parse_object(request),
            origin_server_ts=_timestamp(request),
            sticky_ms=sticky_of(request),
            transaction_key=key,
        )
        return Response({"delay_id": await self._rooms.delayed_events.schedule(user, event, delay_ms)})

    async def redact_event(self, request: Request) -> Response:
        params = request.path_params
        content = parse_object(request, allow_empty=True)
        event_id = await self._rooms.sending.redact(
            request.user, params["room_id"], params["event_id"], params["txn_id"], content
        )
        return Response({"event_id": event_id})

    async def set_state(self, request: Request) -> Response:
        params = request.path_params
        delay_ms = delay_of(request)
        if delay_ms is not None:
            return await self._delay(request, delay_ms, params.get("state_key", ""))
        event_id = await self._rooms.sending.set_state(
            request.user,
            params["room_id"],
            params["event_type"],
            params.get("state_key", ""),
            parse_object(request),
            origin_server_ts=_timestamp(request),
            sticky_ms=sticky_of(request),
        )
        return Response({"event_id": event_id})

    # ---- state and members

    async def get_state(self, request: Request) -> Response:
        return Response(await self._rooms.state.list_state(reader_of(request), request.path_params["room_id"]))

    async def get_state_event(self, request: Request) -> Response:
        params = request.path_params
        stored = await self._rooms.state.get_state(
            request.user.user_id, params["room_id"], params["event_type"], params.get("state_key", "")
        )
        if query_enum(request, "format", _StateFormat.CONTENT, _StateFormat) is _StateFormat.EVENT:
            return Response(self._rooms.serializer.serialize(stored, reader_of(request)))
        return Response(stored.event.content)

    async def get_members(self, request: Request) -> Response:
        membership = query_enum(request, "membership", None, _MembershipName)
        not_membership = query_enum(request, "not_membership", None, _MembershipName)
        chunk = await self._rooms.state.list_members(
            reader_of(request),
            request.path_params["room_id"],
            at=place_of(request, "at"),
            membership=None if membership is None else membership.value,
            not_membership=None if not_membership is None else not_membership.value,
        )
        return Response({"chunk": chunk})

    async def get_joined_members(self, request: Request) -> Response:
        joined = await self._rooms.state.joined_members(
            request.user.user_id,
            request.path_params["room_id"],
            may_peek=request.user.appservice_id is not None,
        )
        return Response({"joined": joined})

    # ---- reading

    async def get_event(self, request: Request) -> Response:
        params = request.path_params
        return Response(await self._rooms.timeline.get_event(reader_of(request), params["room_id"], params["event_id"]))

    async def get_messages(self, request: Request) -> Response:
        direction = query_enum(request, "dir", REQUIRED, Direction)
        event_filter = event_filter_of(request)
        limit = query_int(request, "limit", 10, minimum=0, maximum=MAX_PAGE, clamp=True)
        if event_filter.limit is not None:
            limit = min(limit, event_filter.limit)
        page = await self._rooms.timeline.messages(
            reader_of(request),
            request.path_params["room_id"],
            start=place_of(request, "from"),
            until=place_of(request, "to"),
            backwards=direction is Direction.BACKWARDS,
            limit=limit,
            event_filter=event_filter,
        )
        body: dict[str, Any] = {"chunk": page.chunk, "start": page.start}
        if page.end is not None:
            body["end"] = page.end
        if page.state:
            body["state"] = page.state
        return Response(body)

    async def get_context(self, request: Request) -> Response:
        params = request.path_params
        found = await self._rooms.timeline.context(
            reader_of(request),
            params["room_id"],
            params["event_id"],
            limit=query_int(request, "limit", 10, minimum=0, maximum=MAX_PAGE, clamp=True),
            event_filter=event_filter_of(request),
        )
        return Response(
            {
                "event": found.event,
                "events_before": found.before,
                "events_after": found.after,
                "state": found.state,
                "start": found.start,
                "end": found.end,
            }
        )

    async def get_event_by_timestamp(self, request: Request) -> Response:
        event_id, origin_server_ts = await self._rooms.timeline.event_at(
            request.user.user_id,
            request.path_params["room_id"],
            query_int(request, "ts", minimum=0, maximum=2**53 - 1),
            forward=query_enum(request, "dir", REQUIRED, Direction) is Direction.FORWARDS,
        )
        return Response({"event_id": event_id, "origin_server_ts": origin_server_ts})


def _timestamp(request: Request) -> int | None:
    """`ts`: when an event was sent, which only application services may say ("Timestamp massaging")."""
    if "ts" not in request.query or request.user.appservice_id is None:
        return None
    return query_int(request, "ts", minimum=0, maximum=2**53 - 1)
