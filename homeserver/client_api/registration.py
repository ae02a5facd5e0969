"""Registration of people, guests and ghosts. Spec: Client-Server API, `POST /register`."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from homeserver.client_api.interactive_auth import operation_of
from homeserver.client_api.login import appservice_of
from homeserver.http.parsing import convert, parse_object, query_enum, query_string
from homeserver.http.request import Request, Response
from homeserver.users.authentication import Authentication
from homeserver.users.login import LoginWish
from homeserver.users.registration import Registration, RegistrationWish


class _Kind(enum.Enum):
    USER = "user"
    GUEST = "guest"


class _RegisterBody(msgspec.Struct):
    type: str | None = None
    username: str | None = None
    password: str | None = None
    device_id: str | None = None
    initial_device_display_name: str | None = None
    inhibit_login: bool = False
    refresh_token: bool = False
    guest_access_token: str | None = None
    auth: dict[str, Any] | None = None


class RegistrationApi:
    """/register and what belongs to it."""

    def __init__(self, registration: Registration, authentication: Authentication) -> None:
        self._registration = registration
        self._authentication = authentication

    async def register(self, request: Request) -> Response:
        kind = query_enum(request, "kind", _Kind.USER, _Kind)
        body = parse_object(request, allow_empty=kind is _Kind.GUEST)
        if kind is _Kind.GUEST:
            name = body.get("initial_device_display_name")
            login = LoginWish(display_name=name if isinstance(name, str) else None)
            return Response((await self._registration.register_guest(login, request.client_address)).members())
        wanted = convert(body, _RegisterBody)
        login_wish = LoginWish(wanted.device_id, wanted.initial_device_display_name, wanted.refresh_token)
        wish = RegistrationWish(
            username=wanted.username,
            password=wanted.password,
            login=None if wanted.inhibit_login else login_wish,
            guest_access_token=wanted.guest_access_token,
        )
        if wanted.type == "m.login.application_service":
            appservice = appservice_of(request, self._authentication)
            done = await self._registration.register_appservice_user(appservice, wish)
        else:
            done = await self._registration.register(operation_of(request, body), wish)
        return Response(done.members())

    async def check_username_availability(self, request: Request) -> Response:
        await self._registration.check_available(query_string(request, "username"))
        return Response({"available": True})

    async def check_registration_token(self, request: Request) -> Response:
        token = query_string(request, "token")
        return Response({"valid": await self._registration.token_is_valid(token)})
