"""The server itself, for operators: its version, its tasks, and what it does not have to do."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.http.parsing import parse_body, query_int, query_string
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam, NotFound
from homeserver.protocol.identifiers import parse_user_id
from homeserver.rooms.background_tasks import BackgroundTasks
from homeserver.users.services import UserServices


class _FeaturesBody(msgspec.Struct):
    features: dict[str, bool]


class ServerAdminApi:
    """What concerns neither users nor rooms."""

    def __init__(self, tasks: BackgroundTasks, users: UserServices) -> None:
        self._tasks = tasks
        self._users = users

    async def get_version(self, request: Request) -> Response:
        """Halfdoor's own version: this API has Synapse's shapes, and says that it is not Synapse."""
        from importlib import metadata  # costs memory that servers where nobody asks keep

        return Response({"server_version": f"Halfdoor {metadata.version('halfdoor')}"})

    async def list_tasks(self, request: Request) -> Response:
        action, status = query_string(request, "action_name", None), query_string(request, "job_status", None)
        status = status or query_string(request, "status", None)
        newest = query_int(request, "max_timestamp", None)
        tasks = await self._tasks.list_tasks(resource_id=query_string(request, "resource_id", None), action=action)
        shown: list[dict[str, Any]] = [
            {
                "id": task.task_id,
                "action": task.action,
                "status": task.status,
                "timestamp_ms": task.changed_ts,
                "resource_id": task.resource_id,
                "result": dict(task.result) or None,
                "error": task.error,
            }
            for task in tasks
            if (status is None or task.status == status) and (newest is None or task.changed_ts < newest)
        ]
        return Response({"scheduled_tasks": shown})

    async def get_background_updates(self, request: Request) -> Response:
        """Migrations are done before the server answers, so none is ever running."""
        return Response({"enabled": True, "current_updates": {}})

    async def list_features(self, request: Request) -> Response:
        """Nothing here is switched on for single users."""
        await self._check_user(request)
        return Response({"features": {}})

    async def set_features(self, request: Request) -> Response:
        """Raises InvalidParam for every feature, since none can be switched for a single user."""
        await self._check_user(request)
        body = parse_body(request, _FeaturesBody)
        if body.features:
            names = ", ".join(sorted(body.features)[:10])
            raise InvalidParam(f"This server has no features that are switched on for single users: {names}.")
        return Response()

    async def _check_user(self, request: Request) -> None:
        user_id = parse_user_id(request.path_params["user_id"])
        if await self._users.accounts.find_account(user_id) is None:
            raise NotFound("User not found")
