"""Filters that clients store. Spec: Client-Server API, "Filtering"."""

from __future__ import annotations

from homeserver.http.parsing import parse_object
from homeserver.http.request import Request, Response
from homeserver.users.filters import Filters


class FilterApi:
    """/user/{userId}/filter."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters

    async def create_filter(self, request: Request) -> Response:
        filter_id = await self._filters.add_filter(request.user, request.path_params["user_id"], parse_object(request))
        return Response({"filter_id": filter_id})

    async def get_filter(self, request: Request) -> Response:
        params = request.path_params
        return Response(await self._filters.get_filter(request.user, params["user_id"], params["filter_id"]))
