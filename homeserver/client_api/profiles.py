"""Profiles. Spec: Client-Server API, "Profiles"."""

from __future__ import annotations

from homeserver.http.parsing import parse_object
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import MissingParam
from homeserver.users.profiles import Profiles, check_field_name


class ProfileApi:
    """/profile/{userId} and its fields."""

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    async def get_profile(self, request: Request) -> Response:
        await self._profiles.check_may_read(request.requester, request.path_params["user_id"])
        return Response(await self._profiles.get_profile(request.path_params["user_id"]))

    async def get_profile_field(self, request: Request) -> Response:
        field = request.path_params["field"]
        check_field_name(field)
        await self._profiles.check_may_read(request.requester, request.path_params["user_id"])
        return Response({field: await self._profiles.get_field(request.path_params["user_id"], field)})

    async def set_profile_field(self, request: Request) -> Response:
        field = request.path_params["field"]
        check_field_name(field)
        body = parse_object(request)
        if field not in body:
            raise MissingParam(f"The body must hold {field!r}.")
        await self._profiles.set_field(request.user, request.path_params["user_id"], field, body[field])
        return Response({})

    async def delete_profile_field(self, request: Request) -> Response:
        await self._profiles.delete_field(request.user, request.path_params["user_id"], request.path_params["field"])
        return Response({})
