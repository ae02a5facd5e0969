"""What operators may know of what a user does: rooms, invites, pushers, account data; and undoing it: redaction of
everything, logging in as the user, the user's own rate limit."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from homeserver.http.parsing import parse_body, query_int
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam, NotFound
from homeserver.protocol.identifiers import domain_of, parse_user_id
from homeserver.rooms.administration import RoomAdministration
from homeserver.rooms.services import RoomServices
from homeserver.rooms.user_redaction import ACTION, LIMIT
from homeserver.storage.account_data import GLOBAL, AccountDataStore
from homeserver.storage.database import Database
from homeserver.storage.pushers import PusherStore
from homeserver.users.administration import UserAdministration
from homeserver.users.services import UserServices


class _LoginBody(msgspec.Struct):
    valid_until_ms: int | None = None


class _RedactBody(msgspec.Struct):
    rooms: list[str]
    reason: str | None = None
    limit: int | None = None
    use_admin: bool = False
    after_ts: int | None = None
    before_ts: int | None = None


class _RateLimitBody(msgspec.Struct):
    messages_per_second: int = 0
    burst_count: int = 0


class UserActivityApi:
    """What users of this server do."""

    def __init__(
        self,
        db: Database,
        users: UserServices,
        rooms: RoomServices,
        users_administration: UserAdministration,
        rooms_administration: RoomAdministration,
        server_name: str,
    ) -> None:
        self._db = db
        self._users = users
        self._rooms = rooms
        self._of_users = users_administration
        self._of_rooms = rooms_administration
        self._account_data = AccountDataStore(db)
        self._pushers = PusherStore(db)
        self._server_name = server_name

    async def list_joined_rooms(self, request: Request) -> Response:
        joined = await self._rooms.memberships.joined_rooms(await self._known(request))
        return Response({"joined_rooms": joined, "total": len(joined)})

    async def list_memberships(self, request: Request) -> Response:
        rows = await self._rooms.memberships.memberships(await self._known(request))
        return Response({"memberships": {row.room_id: row.membership for row in rows}, "total": len(rows)})

    async def count_sent_invites(self, request: Request) -> Response:
        user_id = await self._known(request)
        count = await self._of_users.listing.count_sent_invites(user_id, query_int(request, "from_ts"))
        return Response({"invite_count": count})

    async def count_joined_rooms(self, request: Request) -> Response:
        user_id = await self._known(request)
        count = await self._of_users.listing.count_joined_rooms(user_id, query_int(request, "from_ts"))
        return Response({"cumulative_joined_room_count": count})

    async def list_pushers(self, request: Request) -> Response:
        pushers = await self._pushers.list_pushers(await self._local(request))
        return Response(
            {
                "pushers": [
                    {
                        "app_display_name": pusher.app_display_name,
                        "app_id": pusher.app_id,
                        "data": json.loads(pusher.data),
                        "device_display_name": pusher.device_display_name,
                        "kind": pusher.kind,
                        "lang": pusher.lang,
                        "profile_tag": pusher.profile_tag,
                        "pushkey": pusher.pushkey,
                    }
                    for pusher in pushers
                ],
                "total": len(pushers),
            }
        )

    async def get_account_data(self, request: Request) -> Response:
        user_id = await self._local(request)
        everywhere: dict[str, Any] = {}
        by_room: dict[str, dict[str, Any]] = {}
        for entry in await self._account_data.list_changes(user_id, -1, self._db.position):
            content = json.loads(entry.content)
            if entry.room_id == GLOBAL:
                everywhere[entry.type] = content
            else:
                by_room.setdefault(entry.room_id, {})[entry.type] = content
        everywhere["m.push_rules"] = {"global": await self._users.push_rules.ruleset(user_id)}
        return Response({"account_data": {"global": everywhere, "rooms": by_room}})

    async def log_in(self, request: Request) -> Response:
        user_id = await self._local(request)
        body = parse_body(request, _LoginBody, allow_empty=True)
        token = await self._of_users.operator_logins.open(request.user.user_id, user_id, body.valid_until_ms)
        return Response({"access_token": token})

    async def redact(self, request: Request) -> Response:
        user_id = parse_user_id(request.path_params["user_id"])
        body = parse_body(request, _RedactBody)
        if body.limit is not None and body.limit <= 0:
            raise InvalidParam("'limit' must be above 0.")
        if body.after_ts is not None and body.before_ts is not None and body.after_ts > body.before_ts:
            raise InvalidParam("'after_ts' must not be later than 'before_ts'.")
        redact_id = await self._of_rooms.redaction.begin(
            user_id,
            request.user.user_id,
            body.rooms,
            reason=body.reason,
            limit=body.limit or LIMIT,
            use_admin=body.use_admin,
            after_ms=body.after_ts,
            before_ms=body.before_ts,
        )
        return Response({"redact_id": redact_id})

    async def get_redact_status(self, request: Request) -> Response:
        task = await self._of_rooms.tasks.find(request.path_params["redact_id"], ACTION)
        if task is None:
            raise NotFound(f"redact id '{request.path_params['redact_id'][:100]}' not found")
        body: dict[str, Any] = {
            "status": task.status,
            "failed_redactions": task.result.get("failed_redactions", {}),
            "successful_redactions": task.result.get("redacted", 0),
        }
        if task.error is not None:
            body["error"] = task.error
        return Response(body)

    async def get_rate_limit(self, request: Request) -> Response:
        return Response(_rate_limit(await self._of_users.rate_limits.find(await self._local(request))))

    async def set_rate_limit(self, request: Request) -> Response:
        user_id = await self._local(request)
        body = parse_body(request, _RateLimitBody, allow_empty=True)
        await self._of_users.rate_limits.set(user_id, body.messages_per_second, body.burst_count)
        return Response(_rate_limit((body.messages_per_second, body.burst_count)))

    async def delete_rate_limit(self, request: Request) -> Response:
        await self._of_users.rate_limits.remove(await self._local(request))
        return Response()

    async def _local(self, request: Request) -> str:
        """The user of this server whom the path names. Raises InvalidParam, NotFound."""
        user_id = request.path_params["user_id"]
        if domain_of(parse_user_id(user_id)) != self._server_name:
            raise InvalidParam("This user belongs to another server.")
        return await self._known(request)

    async def _known(self, request: Request) -> str:
        """The same, or anybody of another server."""
        user_id = parse_user_id(request.path_params["user_id"])
        if domain_of(user_id) == self._server_name and await self._users.accounts.find_account(user_id) is None:
            raise NotFound("User not found")
        return user_id


def _rate_limit(override: tuple[int, int] | None) -> dict[str, int]:
    if override is None:
        return {}
    return {"messages_per_second": override[0], "burst_count": override[1]}
