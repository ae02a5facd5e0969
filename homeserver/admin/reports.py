"""What users reported, for operators: /event_reports, /user_reports, and all of it at /_halfdoor/admin/v1/reports."""

from __future__ import annotations

from typing import Any, Literal

from homeserver.admin.paging import is_backwards, page_of, text_of
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam, NotFound
from homeserver.rooms.services import RoomServices
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.reports import Report, ReportStore


class ReportAdminApi:
    """Reports by number, the newest first."""

    def __init__(self, db: Database, rooms: RoomServices) -> None:
        self._db = db
        self._rooms = rooms
        self._store = ReportStore(db)

    async def list_event_reports(self, request: Request) -> Response:
        found, total = await self._page(request, "event", text_of(request, "event_sender_user_id"))
        page = page_of(request)
        shown = [await self._event_report(report) for report in found]
        return Response({"event_reports": shown, "total": total, **page.next_number(len(shown), total)})

    async def list_user_reports(self, request: Request) -> Response:
        found, total = await self._page(request, "user", text_of(request, "target_user_id"))
        page = page_of(request)
        shown = [_user_report(report) for report in found]
        return Response({"user_reports": shown, "total": total, **page.next_number(len(shown), total)})

    async def list_all(self, request: Request) -> Response:
        """Of events, users and rooms alike."""
        found = await self._store.list_reports(page_of(request).limit)
        return Response({"reports": [_any_report(report) for report in found]})

    async def get_event_report(self, request: Request) -> Response:
        report = await self._get(request, "event")
        stored = await self._find_event(report)
        shown = await self._event_report(report)
        return Response({**shown, "event_json": None if stored is None else dict(stored.event.pdu)})

    async def get_user_report(self, request: Request) -> Response:
        return Response(_user_report(await self._get(request, "user")))

    async def delete_event_report(self, request: Request) -> Response:
        return await self._delete(await self._get(request, "event"))

    async def delete_user_report(self, request: Request) -> Response:
        return await self._delete(await self._get(request, "user"))

    async def delete_any(self, request: Request) -> Response:
        return await self._delete(await self._get(request, None))

    async def _page(self, request: Request, kind: Literal["event", "user"], against: str | None) -> Any:
        page = page_of(request)
        return await self._store.page_reports(
            kind,
            reporter=text_of(request, "user_id"),
            room_id=text_of(request, "room_id"),
            against=against,
            newest_first=is_backwards(request, "b"),
            start=page.start,
            limit=page.limit,
        )

    async def _get(self, request: Request, kind: Literal["event", "user"] | None) -> Report:
        text = request.path_params["report_id"]
        if not (text.isascii() and text.isdigit() and len(text) < 17):
            raise InvalidParam("The id of a report is a number.")
        report = await self._store.find_report(int(text))
        if report is None or (kind is not None and (report.event_id if kind == "event" else report.user_id) is None):
            raise NotFound("Event report not found" if kind == "event" else "User report not found")
        return report

    async def _delete(self, report: Report) -> Response:
        await self._db.write(lambda txn: self._store.remove_report(txn, report.number))
        return Response()

    async def _find_event(self, report: Report) -> StoredEvent | None:
        room = None if report.room_id is None else await self._rooms.live.find(report.room_id)
        if room is None or report.event_id is None:
            return None
        found = await self._rooms.events.find_events(room.room_id, room.version, [report.event_id])
        return found[0] if found else None

    async def _event_report(self, report: Report) -> dict[str, Any]:
        room = None if report.room_id is None else await self._rooms.live.find(report.room_id)
        return {
            "id": report.number,
            "received_ts": report.created_ts,
            "room_id": report.room_id,
            "event_id": report.event_id,
            "user_id": report.reporter,
            "reason": report.reason,
            "score": None,
            "sender": report.sender,
            "name": None if room is None else room.content("m.room.name").get("name"),
            "canonical_alias": None if room is None else room.content("m.room.canonical_alias").get("alias"),
        }


def _user_report(report: Report) -> dict[str, Any]:
    return {
        "id": report.number,
        "received_ts": report.created_ts,
        "user_id": report.reporter,
        "target_user_id": report.user_id,
        "reason": report.reason,
    }


def _any_report(report: Report) -> dict[str, Any]:
    about = {"room_id": report.room_id, "event_id": report.event_id, "user_id": report.user_id}
    return {
        "id": report.number,
        "received_ts": report.created_ts,
        "reporter": report.reporter,
        "reason": report.reason,
        **{name: value for name, value in about.items() if value is not None},
    }
