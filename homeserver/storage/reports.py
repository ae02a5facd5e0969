"""What users reported to those who run the server."""

from __future__ import annotations

from dataclasses import dataclass

from homeserver.storage.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class Report:
    """One report, of a room, of an event in a room, or of a user. `created_ts` in milliseconds."""

    report_id: str
    created_ts: int
    reporter: str
    room_id: str | None
    event_id: str | None
    user_id: str | None
    reason: str


class ReportStore:
    """The table `reports`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add_report(self, txn: Transaction, report: Report) -> None:
        await txn.execute(
            "INSERT INTO reports (report_id, created_ts, reporter, room_id, event_id, user_id, reason)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                report.report_id,
                report.created_ts,
                report.reporter,
                report.room_id,
                report.event_id,
                report.user_id,
                report.reason,
            ),
        )

    async def list_reports(self, limit: int = 100) -> list[Report]:
        """The newest reports, newest first."""
        rows = await self._db.fetch_all(
            "SELECT report_id, created_ts, reporter, room_id, event_id, user_id, reason FROM reports"
            " ORDER BY created_ts DESC, report_id LIMIT ?",
            (limit,),
        )
        return [Report(*row) for row in rows]
