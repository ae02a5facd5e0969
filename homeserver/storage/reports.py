"""What users reported to those who run the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

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
    number: int = 0
    sender: str | None = None


_COLUMNS = "report_id, created_ts, reporter, room_id, event_id, user_id, reason, number, sender"


class ReportStore:
    """The table `reports`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add_report(self, txn: Transaction, report: Report) -> None:
        """Keep a report under the next number."""
        number = int(await txn.fetch_value("SELECT MAX(number) FROM reports") or 0) + 1
        await txn.execute(
            f"INSERT INTO reports ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                report.report_id,
                report.created_ts,
                report.reporter,
                report.room_id,
                report.event_id,
                report.user_id,
                report.reason,
                number,
                report.sender,
            ),
        )

    async def find_report(self, number: int) -> Report | None:
        row = await self._db.fetch_one(f"SELECT {_COLUMNS} FROM reports WHERE number = ?", (number,))
        return None if row is None else Report(*row)

    async def remove_report(self, txn: Transaction, number: int) -> bool:
        """False when there is none."""
        return bool(await txn.execute("DELETE FROM reports WHERE number = ?", (number,)))

    async def list_reports(self, limit: int = 100) -> list[Report]:
        """The newest reports, newest first."""
        rows = await self._db.fetch_all(f"SELECT {_COLUMNS} FROM reports ORDER BY number DESC LIMIT ?", (limit,))
        return [Report(*row) for row in rows]

    async def page_reports(
        self,
        kind: Literal["event", "user"],
        *,
        reporter: str | None = None,
        room_id: str | None = None,
        against: str | None = None,
        newest_first: bool = True,
        start: int = 0,
        limit: int = 100,
    ) -> tuple[list[Report], int]:
        """(reports of events or of users, how many there are). `reporter` is a part of the reporter's id, `against`
        the sender of the event, or the user who was reported."""
        conditions = ["event_id IS NOT NULL" if kind == "event" else "user_id IS NOT NULL"]
        params: list[Any] = []
        if reporter is not None:
            conditions.append("reporter LIKE ? ESCAPE '\\'")
            params.append(contains(reporter))
        if room_id is not None:
            conditions.append("room_id LIKE ? ESCAPE '\\'")
            params.append(contains(room_id))
        if against is not None:
            conditions.append("sender LIKE ? ESCAPE '\\'" if kind == "event" else "user_id LIKE ? ESCAPE '\\'")
            params.append(contains(against))
        where = " AND ".join(conditions)
        total = await self._db.fetch_value(f"SELECT COUNT(*) FROM reports WHERE {where}", params)
        order = "DESC" if newest_first else "ASC"
        rows = await self._db.fetch_all(
            f"SELECT {_COLUMNS} FROM reports WHERE {where} ORDER BY number {order} LIMIT ? OFFSET ?",
            (*params, limit, start),
        )
        return [Report(*row) for row in rows], int(total)


def contains(text: str) -> str:
    """The LIKE pattern of texts that hold this one; the backslash escapes."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
