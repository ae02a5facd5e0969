"""Tags of rooms. Spec: Client-Server API, "Room Tagging"."""

from __future__ import annotations

from homeserver.http.parsing import parse_object
from homeserver.http.request import Request, Response
from homeserver.users.tags import Tags


class TagApi:
    """/user/{userId}/rooms/{roomId}/tags."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags

    async def get_tags(self, request: Request) -> Response:
        tags = await self._tags.list_tags(request.user, request.path_params["user_id"], request.path_params["room_id"])
        return Response({"tags": tags})

    async def set_tag(self, request: Request) -> Response:
        params = request.path_params
        body = parse_object(request, allow_empty=True)
        await self._tags.set_tag(request.user, params["user_id"], params["room_id"], params["tag"], body)
        return Response({})

    async def delete_tag(self, request: Request) -> Response:
        params = request.path_params
        await self._tags.remove_tag(request.user, params["user_id"], params["room_id"], params["tag"])
        return Response({})
