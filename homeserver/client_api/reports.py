"""Reporting rooms, events and users. Spec: Client-Server API, "Reporting Content"."""

from __future__ import annotations

import msgspec

from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.rooms.services import RoomServices


class _ReportBody(msgspec.Struct):
    reason: str


class _EventReportBody(msgspec.Struct):
    """`score` was in the spec until v1.17; it is taken and says nothing any more."""

    reason: str | None = None
    score: int | None = None


class ReportApi:
    """/rooms/{roomId}/report, /rooms/{roomId}/report/{eventId} and /users/{userId}/report."""

    def __init__(self, rooms: RoomServices) -> None:
        self._reports = rooms.reports

    async def report_room(self, request: Request) -> Response:
        body = parse_body(request, _ReportBody)
        await self._reports.report_room(request.user.user_id, request.path_params["room_id"], body.reason)
        return Response()

    async def report_event(self, request: Request) -> Response:
        body = parse_body(request, _EventReportBody, allow_empty=True)
        params = request.path_params
        await self._reports.report_event(request.user.user_id, params["room_id"], params["event_id"], body.reason or "")
        return Response()

    async def report_user(self, request: Request) -> Response:
        body = parse_body(request, _ReportBody)
        await self._reports.report_user(request.user.user_id, request.path_params["user_id"], body.reason)
        return Response()
