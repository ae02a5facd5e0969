"""Logging in, out, and refreshing tokens. Spec: Client-Server API, "Login", "Refreshing access tokens"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from homeserver.client_api.interactive_auth import operation_of
from homeserver.http.parsing import convert, parse_body, parse_object
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import Forbidden, MissingParam, MissingToken, Unknown, UnknownToken
from homeserver.users.access_tokens import AccessTokens
from homeserver.users.appservices import Appservice
from homeserver.users.authentication import Authentication
from homeserver.users.interactive_auth import InteractiveAuth
from homeserver.users.login import Login, Logins, LoginWish
from homeserver.users.requester import Requester


class _LoginBody(msgspec.Struct):
    type: str
    identifier: dict[str, Any] | None = None
    user: str | None = None
    password: str | None = None
    token: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None
    refresh_token: bool = False


class _RefreshBody(msgspec.Struct):
    refresh_token: str


class LoginApi:
    """/login, /refresh, /logout. `public_base_url` is what clients are told to use, or None."""

    def __init__(
        self,
        logins: Logins,
        tokens: AccessTokens,
        authentication: Authentication,
        interactive_auth: InteractiveAuth,
        public_base_url: str | None,
        sso_flow: Mapping[str, Any] | None = None,
    ) -> None:
        self._sso_flow = sso_flow
        self._logins = logins
        self._tokens = tokens
        self._authentication = authentication
        self._interactive_auth = interactive_auth
        self._public_base_url = public_base_url

    async def get_login_flows(self, request: Request) -> Response:
        flows: list[Mapping[str, Any]] = [] if self._sso_flow is None else [self._sso_flow]
        flows += [
            {"type": "m.login.password"},
            {"type": "m.login.token", "get_login_token": True},
            {"type": "m.login.application_service"},
        ]
        return Response({"flows": flows})

    async def log_in(self, request: Request) -> Response:
        body = parse_object(request)
        login = convert(body, _LoginBody)
        wish = LoginWish(login.device_id, login.initial_device_display_name, login.refresh_token)
        if login.type == "m.login.password":
            if login.password is None:
                raise MissingParam("'password' is missing.")
            opened = await self._logins.log_in_with_password(
                await self._user_of(body), login.password, wish, request.client_address
            )
        elif login.type == "m.login.application_service":
            opened = await self._logins.log_in_as_appservice(
                appservice_of(request, self._authentication), await self._user_of(body), wish
            )
        elif login.type == "m.login.token":
            if login.token is None:
                raise MissingParam("'token' is missing.")
            opened = await self._logins.log_in_with_token(login.token, wish)
        else:
            raise Unknown("This server does not know that kind of login; GET this path lists what it knows.")
        return Response(self._members(opened))

    async def create_login_token(self, request: Request) -> Response:
        """ "servers MUST always re-prompt the user for verification": no session of interactive authentication is ever
        used twice."""
        body = parse_object(request, allow_empty=True)
        if request.user.appservice_id is not None:
            raise Forbidden("Application services log in with their own token.")
        await self._interactive_auth.check(operation_of(request, body), [["m.login.password"]])
        token, lifetime = await self._logins.create_login_token(request.user)
        return Response({"login_token": token, "expires_in_ms": lifetime})

    async def refresh(self, request: Request) -> Response:
        body = parse_body(request, _RefreshBody)
        return Response((await self._tokens.refresh(body.refresh_token)).members())

    async def log_out(self, request: Request) -> Response:
        await self._logins.log_out(await self._requester(request))
        return Response({})

    async def log_out_everywhere(self, request: Request) -> Response:
        await self._logins.log_out_everywhere(await self._requester(request))
        return Response({})

    async def _requester(self, request: Request) -> Requester:
        """Who wants to leave: the two requests that a locked account may still make ("Account locking")."""
        if request.access_token is None:
            raise MissingToken("This needs an access token, as the header Authorization: Bearer.")
        return await self._authentication.verify_token(
            request.access_token,
            acts_as=request.query.get("user_id", [None])[0],
            device_id=request.query.get("device_id", [None])[0],
            address=request.client_address,
            even_locked=True,
        )

    async def _user_of(self, body: dict[str, Any]) -> str:
        user = await self._logins.find_identified(body)
        if user is None:
            raise MissingParam("'identifier' is missing.")
        return user

    def _members(self, login: Login) -> dict[str, Any]:
        members = login.members()
        if self._public_base_url is not None:
            members["well_known"] = {"m.homeserver": {"base_url": self._public_base_url}}
        return members


def appservice_of(request: Request, authentication: Authentication) -> Appservice:
    """The application service that makes a request which needs an as_token.

    "without a valid as_token, the endpoints will return an error with the M_MISSING_TOKEN or M_UNKNOWN_TOKEN".
    """
    if request.access_token is None:
        raise MissingToken("This needs the application service's as_token.")
    appservice = authentication.find_appservice(request.access_token)
    if appservice is None:
        raise UnknownToken("This is not the as_token of an application service.", soft_logout=False)
    return appservice
