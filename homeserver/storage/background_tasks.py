"""Work that outlives a request, as stored rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from homeserver.storage.database import Database, Row, Transaction

Status = Literal["scheduled", "active", "complete", "failed"]

_COLUMNS = "task_id, action, resource_id, status, created_ts, changed_ts, params, result, error"


@dataclass(frozen=True, slots=True)
class BackgroundTask:
    """One task. Times in milliseconds; `resource_id` is the room or user that it is about."""

    task_id: str
    action: str
    resource_id: str
    status: Status
    created_ts: int
    changed_ts: int
    params: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


class BackgroundTaskStore:
    """The table `background_tasks`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find_task(self, task_id: str) -> BackgroundTask | None:
        row = await self._db.fetch_one(f"SELECT {_COLUMNS} FROM background_tasks WHERE task_id = ?", (task_id,))
        return None if row is None else _task(row)

    async def list_tasks(self, *, resource_id: str | None = None, limit: int = 1000) -> list[BackgroundTask]:
        """The newest first; of one room or user, or all."""
        if resource_id is None:
            rows = await self._db.fetch_all(
                f"SELECT {_COLUMNS} FROM background_tasks ORDER BY created_ts DESC, task_id LIMIT ?", (limit,)
            )
        else:
            rows = await self._db.fetch_all(
                f"SELECT {_COLUMNS} FROM background_tasks WHERE resource_id = ? ORDER BY created_ts DESC, task_id"
                " LIMIT ?",
                (resource_id, limit),
            )
        return [_task(row) for row in rows]

    async def list_unfinished(self) -> list[BackgroundTask]:
        """What a server that stops leaves behind, the oldest first."""
        rows = await self._db.fetch_all(
            f"SELECT {_COLUMNS} FROM background_tasks WHERE status IN ('scheduled', 'active')"
            " ORDER BY created_ts, task_id"
        )
        return [_task(row) for row in rows]

    async def add_task(self, txn: Transaction, task: BackgroundTask) -> None:
        await txn.execute(
            f"INSERT INTO background_tasks ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                task.task_id,
                task.action,
                task.resource_id,
                task.status,
                task.created_ts,
                task.changed_ts,
                json.dumps(task.params),
                json.dumps(task.result),
                task.error,
            ),
        )

    async def set_status(
        self, txn: Transaction, task_id: str, status: Status, now_ts: int, result: Mapping[str, Any], error: str | None
    ) -> None:
        await txn.execute(
            "UPDATE background_tasks SET status = ?, changed_ts = ?, result = ?, error = ? WHERE task_id = ?",
            (status, now_ts, json.dumps(result), error, task_id),
        )

    async def remove_finished(self, txn: Transaction, before_ts: int) -> None:
        """Forget what ended before a time."""
        await txn.execute(
            "DELETE FROM background_tasks WHERE changed_ts < ? AND status IN ('complete', 'failed')", (before_ts,)
        )


def _task(row: Row) -> BackgroundTask:
    task_id, action, resource_id, status, created_ts, changed_ts, params, result, error = row
    return BackgroundTask(
        task_id,
        action,
        resource_id,
        cast(Status, status),
        created_ts,
        changed_ts,
        json.loads(params),
        json.loads(result),
        error,
    )
