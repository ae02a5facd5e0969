"""Files in operators' hands: listed, quarantined, protected, deleted. The rules are in `media/upkeep.py`."""

from __future__ import annotations

from typing import Any, cast, get_args

from homeserver.admin.paging import flag_of, is_backwards, order_of, page_of
from homeserver.http.parsing import query_int
from homeserver.http.request import Request, Response
from homeserver.media.upkeep import MediaUpkeep
from homeserver.protocol.errors import InvalidParam, NotFound
from homeserver.protocol.identifiers import domain_of, parse_user_id
from homeserver.rooms.inspection import Inspection
from homeserver.storage.media import Media
from homeserver.storage.media_upkeep import OrderBy
from homeserver.users.accounts import Accounts

OLDEST_MS = 1_000_000_000_000
"""Nobody means a time before 2001: such a number is in seconds by mistake."""


class MediaAdminApi:
    """Everything that was uploaded or fetched."""

    def __init__(self, upkeep: MediaUpkeep, inspection: Inspection, accounts: Accounts, server_name: str) -> None:
        self._upkeep = upkeep
        self._inspection = inspection
        self._accounts = accounts
        self._server_name = server_name

    async def get_media(self, request: Request) -> Response:
        params = request.path_params
        media = await self._upkeep.find(params["server_name"], params["media_id"])
        if media is None:
            raise NotFound("Unknown media")
        return Response(
            {
                "media_info": {
                    **_shown(media),
                    "media_origin": None if media.server_name == self._server_name else media.server_name,
                    "user_id": media.user_id or None,
                    "filesystem_id": None if media.server_name == self._server_name else media.file_key,
                    "url_cache": None,
                    "authenticated": True,
                    "sha256": media.sha256,
                }
            }
        )

    async def list_of_user(self, request: Request) -> Response:
        user_id, page = await self._user(request), page_of(request)
        order_by, descending = _order(request)
        found, total = await self._upkeep.list_of_user(
            user_id, order_by=order_by, descending=descending, start=page.start, limit=page.limit
        )
        shown = [_shown(media) for media in found]
        return Response({"media": shown, "total": total, **page.next_number(len(shown), total)})

    async def delete_of_user(self, request: Request) -> Response:
        """At most `limit` files, those that the list would show."""
        user_id, page = await self._user(request), page_of(request)
        order_by, descending = _order(request)
        gone = await self._upkeep.remove_of_user(
            user_id, order_by=order_by, descending=descending, start=page.start, limit=page.limit
        )
        return Response({"deleted_media": gone, "total": len(gone)})

    async def delete_media(self, request: Request) -> Response:
        params = request.path_params
        if params["server_name"] != self._server_name:
            raise InvalidParam("Can only delete local media")
        if not await self._upkeep.remove(params["server_name"], params["media_id"]):
            raise NotFound("Unknown media")
        return Response({"deleted_media": [params["media_id"]], "total": 1})

    async def delete_old(self, request: Request) -> Response:
        """Files of this server that nobody used since `before_ts` and that are larger than `size_gt`."""
        if request.path_params.get("server_name", self._server_name) != self._server_name:
            raise InvalidParam("Can only delete local media")
        gone = await self._upkeep.purge_before(
            _before(request),
            larger_than=query_int(request, "size_gt", 0),
            keep_avatars=flag_of(request, "keep_profiles", True),
        )
        return Response({"deleted_media": gone, "total": len(gone)})

    async def purge_remote(self, request: Request) -> Response:
        return Response({"deleted": await self._upkeep.purge_remote(_before(request))})

    async def quarantine(self, request: Request) -> Response:
        params = request.path_params
        await self._upkeep.quarantine(params["server_name"], params["media_id"], request.user.user_id)
        return Response()

    async def release(self, request: Request) -> Response:
        params = request.path_params
        await self._upkeep.release(params["server_name"], params["media_id"])
        return Response()

    async def quarantine_of_user(self, request: Request) -> Response:
        user_id = await self._user(request)
        return Response({"num_quarantined": await self._upkeep.quarantine_of_user(user_id, request.user.user_id)})

    async def quarantine_of_room(self, request: Request) -> Response:
        """Everything that unencrypted events of the room name, as far as this server keeps it."""
        number = 0
        for address in await self._inspection.media_of(request.path_params["room_id"]):
            server_name, _, media_id = address.removeprefix("mxc://").partition("/")
            if await self._upkeep.find(server_name, media_id) is not None:
                number += await self._upkeep.quarantine(server_name, media_id, request.user.user_id)
        return Response({"num_quarantined": number})

    async def protect(self, request: Request) -> Response:
        return await self._protect(request, True)

    async def unprotect(self, request: Request) -> Response:
        return await self._protect(request, False)

    async def _protect(self, request: Request, is_protected: bool) -> Response:
        if not await self._upkeep.protect(request.path_params["media_id"], is_protected):
            raise NotFound("Unknown media")
        return Response()

    async def _user(self, request: Request) -> str:
        user_id = request.path_params["user_id"]
        if domain_of(parse_user_id(user_id)) != self._server_name:
            raise InvalidParam("This user belongs to another server.")
        if await self._accounts.find_account(user_id) is None:
            raise NotFound("User not found")
        return user_id


def _order(request: Request) -> tuple[OrderBy, bool]:
    """The newest first, unless either parameter is given."""
    default = "b" if "order_by" not in request.query and "dir" not in request.query else "f"
    order = order_of(request, get_args(OrderBy), "created_ts")
    return cast(OrderBy, order), is_backwards(request, default)


def _before(request: Request) -> int:
    before = query_int(request, "before_ts")
    if before < OLDEST_MS:
        raise InvalidParam("'before_ts' must be a time in milliseconds.")
    return before


def _shown(media: Media) -> dict[str, Any]:
    return {
        "media_id": media.media_id,
        "media_type": media.content_type,
        "media_length": media.size,
        "upload_name": media.file_name,
        "created_ts": media.created_ms,
        "last_access_ts": media.last_access_ms,
        "quarantined_by": media.quarantined_by,
        "safe_from_quarantine": media.is_protected,
    }
