"""Account data, global and per room. Spec: Client-Server API, "Client Config"."""

from __future__ import annotations

from homeserver.http.parsing import parse_object
from homeserver.http.request import Request, Response
from homeserver.users.account_data import AccountDataService


class AccountDataApi:
    """/user/{userId}/account_data and /user/{userId}/rooms/{roomId}/account_data. Without a room it is global ("")."""

    def __init__(self, account_data: AccountDataService) -> None:
        self._account_data = account_data

    async def get_account_data(self, request: Request) -> Response:
        params = request.path_params
        return Response(
            await self._account_data.get_content(
                request.user, params["user_id"], params.get("room_id", ""), params["type"]
            )
        )

    async def set_account_data(self, request: Request) -> Response:
        params = request.path_params
        await self._account_data.set_content(
            request.user, params["user_id"], params.get("room_id", ""), params["type"], parse_object(request)
        )
        return Response({})
