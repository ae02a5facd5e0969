"""What operators do to rooms: join users to them, hand out power, block, delete, purge, and speak as the server."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import BadJson, InvalidParam, NotFound
from homeserver.protocol.identifiers import parse_room_id, parse_user_id
from homeserver.rooms.administration import RoomAdministration
from homeserver.rooms.deletion import ACTION as DELETION
from homeserver.rooms.deletion import MESSAGE, NEW_ROOM_NAME, DeletionRequest
from homeserver.rooms.history_purge import ACTION as PURGE
from homeserver.rooms.inspection import Inspection
from homeserver.rooms.room_power import RoomPower
from homeserver.storage.background_tasks import BackgroundTask


class _JoinBody(msgspec.Struct):
    user_id: str


class _PowerBody(msgspec.Struct):
    user_id: str | None = None


class _BlockBody(msgspec.Struct):
    block: bool


class _DeleteBody(msgspec.Struct):
    new_room_user_id: str | None = None
    room_name: str | None = None
    message: str | None = None
    block: bool = False
    purge: bool = True
    force_purge: bool = False


class _PurgeBody(msgspec.Struct):
    delete_local_events: bool = False
    purge_up_to_event_id: str | None = None
    purge_up_to_ts: int | None = None


class _NoticeBody(msgspec.Struct):
    user_id: str
    content: dict[str, Any]
    type: str = "m.room.message"
    state_key: str | None = None


class RoomChangeApi:
    """Changes rooms."""

    def __init__(self, administration: RoomAdministration, power: RoomPower, inspection: Inspection) -> None:
        self._administration = administration
        self._power = power
        self._inspection = inspection

    async def join(self, request: Request) -> Response:
        body = parse_body(request, _JoinBody)
        room_id = await self._inspection.room_id_of(request.path_params["room_id"])
        await self._power.join(request.user.user_id, parse_user_id(body.user_id), room_id)
        return Response({"room_id": room_id})

    async def make_admin(self, request: Request) -> Response:
        body = parse_body(request, _PowerBody, allow_empty=True)
        room_id = await self._inspection.room_id_of(request.path_params["room_id"])
        await self._power.make_admin(room_id, parse_user_id(body.user_id or request.user.user_id))
        return Response()

    async def get_block(self, request: Request) -> Response:
        blocker = await self._administration.blocks.find_blocker(parse_room_id(request.path_params["room_id"]))
        return Response({"block": False} if blocker is None else {"block": True, "user_id": blocker})

    async def set_block(self, request: Request) -> Response:
        room_id = parse_room_id(request.path_params["room_id"])
        body = parse_body(request, _BlockBody)
        if body.block:
            await self._administration.blocks.block(room_id, request.user.user_id)
        else:
            await self._administration.blocks.unblock(room_id)
        return Response({"block": body.block})

    async def delete(self, request: Request) -> Response:
        """Version 1: answers when it is done."""
        room_id = parse_room_id(request.path_params["room_id"])
        return Response(await self._administration.deletion.delete(room_id, _deletion(request)))

    async def begin_deletion(self, request: Request) -> Response:
        """Version 2: answers at once with a number to ask after."""
        room_id = parse_room_id(request.path_params["room_id"])
        return Response({"delete_id": await self._administration.deletion.begin(room_id, _deletion(request))})

    async def get_deletion(self, request: Request) -> Response:
        task = await self._administration.tasks.find(request.path_params["delete_id"], DELETION)
        if task is None:
            raise NotFound(f"delete id '{request.path_params['delete_id'][:100]}' not found")
        return Response(_deletion_status(task))

    async def list_deletions(self, request: Request) -> Response:
        room_id = parse_room_id(request.path_params["room_id"])
        tasks = await self._administration.tasks.list_tasks(resource_id=room_id, action=DELETION)
        if not tasks:
            raise NotFound("No delete task for room_id found")
        return Response({"results": [_deletion_status(task) for task in tasks]})

    async def purge_history(self, request: Request) -> Response:
        body = parse_body(request, _PurgeBody, allow_empty=True)
        event_id = request.path_params.get("event_id") or body.purge_up_to_event_id
        purge_id = await self._administration.history.begin(
            parse_room_id(request.path_params["room_id"]),
            event_id=event_id,
            before_ms=None if event_id is not None else body.purge_up_to_ts,
            local_too=body.delete_local_events,
        )
        return Response({"purge_id": purge_id})

    async def get_purge(self, request: Request) -> Response:
        task = await self._administration.tasks.find(request.path_params["purge_id"], PURGE)
        if task is None:
            raise NotFound(f"purge id '{request.path_params['purge_id'][:100]}' not found")
        # A purge that has not begun is "active" too, since tools know no further word.
        body: dict[str, Any] = {"status": "active" if task.status == "scheduled" else task.status}
        if task.error is not None:
            body["error"] = task.error
        return Response(body)

    async def list_extremities(self, request: Request) -> Response:
        room = await self._inspection.room(await self._inspection.room_id_of(request.path_params["room_id"]))
        results = await self._inspection.extremities(room)
        return Response({"count": len(results), "results": results})

    async def delete_extremities(self, request: Request) -> Response:
        """There is nothing to delete: this server keeps no more of them than the room has ends."""
        await self._inspection.room(await self._inspection.room_id_of(request.path_params["room_id"]))
        return Response({"deleted": 0})

    async def send_notice(self, request: Request) -> Response:
        body = parse_body(request, _NoticeBody)
        if body.type == "m.room.message" and not isinstance(body.content.get("body"), str):
            raise BadJson("'content' must be that of a message, with 'msgtype' and 'body'.")
        txn_id = request.path_params.get("txn_id")
        event_id = await self._administration.notices.send(
            body.user_id,
            body.content,
            event_type=body.type,
            state_key=body.state_key,
            txn_id=None if txn_id is None else f"{request.user.user_id}/{txn_id}",
        )
        return Response({"event_id": event_id})


def _deletion(request: Request) -> DeletionRequest:
    body = parse_body(request, _DeleteBody, allow_empty=True)
    if body.force_purge and not body.purge:
        raise InvalidParam("'force_purge' says how to purge; it needs 'purge'.")
    return DeletionRequest(
        requester=request.user.user_id,
        new_room_user_id=body.new_room_user_id,
        room_name=body.room_name or NEW_ROOM_NAME,
        message=body.message or MESSAGE,
        block=body.block,
        purge=body.purge,
        force_purge=body.force_purge,
    )


def _deletion_status(task: BackgroundTask) -> dict[str, Any]:
    names = ("kicked_users", "failed_to_kick_users", "local_aliases")
    body: dict[str, Any] = {
        "delete_id": task.task_id,
        "room_id": task.resource_id,
        "status": task.status,
        "shutdown_room": {
            **{name: task.result.get(name, []) for name in names},
            "new_room_id": task.result.get("new_room_id"),
        },
    }
    if task.error is not None:
        body["error"] = task.error
    return body
