"""Work that operators ask for and that outlives the request: it has a number to ask after, and goes on after a restart.

A kind of work is registered under its name with a function that may be run again from the beginning: what it did
already, it finds done. Tasks of one room or user run one after another, never two at once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from homeserver.clock import Clock
from homeserver.protocol.errors import MatrixError, Unavailable
from homeserver.storage.background_tasks import BackgroundTask, BackgroundTaskStore, Status
from homeserver.storage.database import Database

KEPT_MS: Final = 24 * 3600 * 1000
"""How long one can ask after a task that has ended."""

Report = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Writes down how far a task is."""

Work = Callable[[BackgroundTask, Report], Awaitable[Mapping[str, Any]]]
"""Does the work and returns its result. A MatrixError that it raises is the task's failure."""

_log = logging.getLogger("homeserver.rooms.background_tasks")


class BackgroundTasks:
    """Runs them, and answers after them."""

    def __init__(self, db: Database, store: BackgroundTaskStore, clock: Clock) -> None:
        self._db = db
        self._store = store
        self._clock = clock
        self._works: dict[str, Work] = {}
        self._before: dict[str, Callable[[BackgroundTask], None]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._locks: dict[str, asyncio.Lock] = {}

    def register(self, action: str, work: Work, *, before: Callable[[BackgroundTask], None] | None = None) -> None:
        """`before` is called when the task is taken up, also after a restart, before anybody else is served."""
        self._works[action] = work
        if before is not None:
            self._before[action] = before

    async def start(self) -> None:
        """Go on with what the last run left unfinished."""
        for task in await self._store.list_unfinished():
            if task.action in self._works:
                self._begin(task)

    async def stop(self) -> None:
        """Leave what runs for the next start."""
        for running in list(self._running):
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def finish(self) -> None:
        """Wait until nothing runs any more; for commands and tests."""
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)

    async def add(self, action: str, resource_id: str, params: Mapping[str, Any]) -> str:
        """Begin a task; its number. It is written down before this returns."""
        now = self._clock.now_ms()
        task = BackgroundTask(secrets.token_urlsafe(12), action, resource_id, "scheduled", now, now, dict(params))

        async def write(txn: Any) -> None:
            await self._store.remove_finished(txn, now - KEPT_MS)
            await self._store.add_task(txn, task)

        await self._db.write(write)
        self._begin(task)
        return task.task_id

    async def run(self, action: str, resource_id: str, params: Mapping[str, Any]) -> BackgroundTask:
        """The same, and wait for its end."""
        task_id = await self.add(action, resource_id, params)
        for running in list(self._running):
            if running.get_name() == task_id:
                await asyncio.wait([running])
        found = await self._store.find_task(task_id)
        assert found is not None
        return found

    async def find(self, task_id: str, action: str | None = None) -> BackgroundTask | None:
        """A task by its number, of one kind or of any."""
        found = await self._store.find_task(task_id)
        return None if found is None or (action is not None and found.action != action) else found

    async def list_tasks(self, *, resource_id: str | None = None, action: str | None = None) -> list[BackgroundTask]:
        """The newest first."""
        found = await self._store.list_tasks(resource_id=resource_id)
        return [task for task in found if action is None or task.action == action]

    def _begin(self, task: BackgroundTask) -> None:
        if task.action in self._before:
            self._before[task.action](task)
        running = asyncio.create_task(self._run(task), name=task.task_id)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _run(self, task: BackgroundTask) -> None:
        lock = self._locks.setdefault(task.resource_id, asyncio.Lock())
        async with lock:
            latest = dict(task.result)

            async def report(result: Mapping[str, Any]) -> None:
                latest.update(result)
                await self._set(task, "active", latest)

            try:
                await self._set(task, "active", latest)
                result = await self._works[task.action](replace(task, status="active"), report)
                await self._set(task, "complete", {**latest, **result})
            except Unavailable as error:
                _log.warning("%s of %s waits for the next start: %s", task.action, task.resource_id, error.message)
            except MatrixError as error:
                await self._fail(task, latest, error.message)
            except Exception:
                _log.exception("%s of %s failed", task.action, task.resource_id)
                await self._fail(task, latest, "An unexpected error; the server's log says more.")
        if not lock.locked():
            self._locks.pop(task.resource_id, None)

    async def _fail(self, task: BackgroundTask, result: Mapping[str, Any], error: str) -> None:
        try:
            await self._set(task, "failed", result, error)
        except Unavailable:
            _log.warning("%s of %s failed: %s", task.action, task.resource_id, error)

    async def _set(
        self, task: BackgroundTask, status: Status, result: Mapping[str, Any], error: str | None = None
    ) -> None:
        now, snapshot = self._clock.now_ms(), dict(result)
        await self._db.write(lambda txn: self._store.set_status(txn, task.task_id, status, now, snapshot, error))
