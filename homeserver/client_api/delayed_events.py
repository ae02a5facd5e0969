"""Events that are sent later (MSC4140). Whoever knows a delay id may manage it, so that a token is not needed."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from homeserver.http.parsing import parse_body, query_int, query_list, query_string
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam
from homeserver.rooms.delayed_events import DelayedEvents

MAX_DURATION: Final = 2**53 - 1


class _Action(Struct):
    action: str


def delay_of(request: Request) -> int | None:
    """By how many milliseconds a request to send asks to be delayed, if it does."""
    return _duration(request, "org.matrix.msc4140.delay")


def sticky_of(request: Request) -> int | None:
    """For how many milliseconds the event that is sent shall be sticky (MSC4354)."""
    return _duration(request, "org.matrix.msc4354.sticky_duration_ms")


def _duration(request: Request, name: str) -> int | None:
    return query_int(request, name, minimum=0, maximum=MAX_DURATION) if name in request.query else None


class DelayedEventApi:
    """/delayed_events."""

    def __init__(self, delayed: DelayedEvents) -> None:
        self._delayed = delayed

    async def list_delayed_events(self, request: Request) -> Response:
        status = query_string(request, "status", None)
        if status not in (None, "scheduled", "finalised"):
            raise InvalidParam("status must be scheduled or finalised.")
        found: dict[str, Any] = dict(
            await self._delayed.list_events(
                request.user.user_id, status=status, delay_ids=frozenset(query_list(request, "delay_id"))
            )
        )
        if "scheduled" in found:
            found["delayed_events"] = found["scheduled"]  # what the first form of the proposal calls them
        return Response(found)

    async def update_delayed_event(self, request: Request) -> Response:
        await self._act(request.path_params["delay_id"], parse_body(request, _Action).action)
        return Response({})

    async def restart_delayed_event(self, request: Request) -> Response:
        return await self._do(request, "restart")

    async def cancel_delayed_event(self, request: Request) -> Response:
        return await self._do(request, "cancel")

    async def send_delayed_event(self, request: Request) -> Response:
        return await self._do(request, "send")

    async def _do(self, request: Request, action: str) -> Response:
        await self._act(request.path_params["delay_id"], action)
        return Response({})

    async def _act(self, delay_id: str, action: str) -> None:
        if action == "restart":
            await self._delayed.restart(delay_id)
        elif action == "cancel":
            await self._delayed.cancel(delay_id)
        elif action == "send":
            await self._delayed.send(delay_id)
        else:
            raise InvalidParam("action must be send, cancel or restart.")
