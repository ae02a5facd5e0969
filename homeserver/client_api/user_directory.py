"""Searching for people. Spec: Client-Server API, "User Directory"."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam
from homeserver.storage.user_directory import DirectoryEntry
from homeserver.users.user_directory import MAXIMUM_RESULTS, UserDirectory


class _SearchBody(msgspec.Struct):
    search_term: str
    limit: int = 10


class UserDirectoryApi:
    """/user_directory/search."""

    def __init__(self, directory: UserDirectory) -> None:
        self._directory = directory

    async def search_users(self, request: Request) -> Response:
        body = parse_body(request, _SearchBody)
        if body.limit < 1:
            raise InvalidParam("'limit' must be at least 1.")
        limit = min(body.limit, MAXIMUM_RESULTS)
        found, limited = await self._directory.search(request.user.user_id, body.search_term, limit)
        return Response({"results": [_members(entry) for entry in found], "limited": limited})


def _members(entry: DirectoryEntry) -> dict[str, Any]:
    members: dict[str, Any] = {"user_id": entry.user_id}
    if entry.display_name is not None:
        members["display_name"] = entry.display_name
    if entry.avatar_url is not None:
        members["avatar_url"] = entry.avatar_url
    return members
