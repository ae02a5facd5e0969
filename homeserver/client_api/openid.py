"""OpenID tokens. Spec: Client-Server API, "OpenID"."""

from __future__ import annotations

from homeserver.http.parsing import parse_object
from homeserver.http.request import Request, Response
from homeserver.protocol.identifiers import domain_of
from homeserver.users.openid import LIFETIME_SECONDS, OpenId


class OpenIdApi:
    """/user/{userId}/openid/request_token."""

    def __init__(self, openid: OpenId) -> None:
        self._openid = openid

    async def request_token(self, request: Request) -> Response:
        parse_object(request, allow_empty=True)
        token = await self._openid.create_token(request.user, request.path_params["user_id"])
        return Response(
            {
                "access_token": token,
                "token_type": "Bearer",
                "matrix_server_name": domain_of(request.user.user_id),
                "expires_in": LIFETIME_SECONDS,
            }
        )
