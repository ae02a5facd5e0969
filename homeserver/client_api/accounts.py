"""The account of whoever asks: who am I, password, deactivation, contact addresses."""

from __future__ import annotations

import msgspec

from homeserver.client_api.interactive_auth import operation_of
from homeserver.http.parsing import convert, parse_object
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import Forbidden, ThreepidDenied, ThreepidMediumNotSupported
from homeserver.users.accounts import Accounts
from homeserver.users.interactive_auth import InteractiveAuth

_PASSWORD = [["m.login.password"]]


class _PasswordBody(msgspec.Struct):
    new_password: str
    logout_devices: bool = True


class _DeactivateBody(msgspec.Struct):
    erase: bool = False
    id_server: str | None = None


class _ThreepidBody(msgspec.Struct):
    medium: str
    address: str


class AccountApi:
    """/account."""

    def __init__(self, accounts: Accounts, interactive_auth: InteractiveAuth) -> None:
        self._accounts = accounts
        self._interactive_auth = interactive_auth

    async def get_whoami(self, request: Request) -> Response:
        requester = request.user
        members: dict[str, object] = {"user_id": requester.user_id, "is_guest": requester.is_guest}
        if requester.device_id is not None:
            members["device_id"] = requester.device_id
        return Response(members)

    async def change_password(self, request: Request) -> Response:
        body = parse_object(request)
        wanted = convert(body, _PasswordBody)
        self._accounts.check_new_password(wanted.new_password)
        if request.user.appservice_id is not None:
            raise Forbidden("Application services do not manage passwords.")
        await self._interactive_auth.check(operation_of(request, body), _PASSWORD)
        await self._accounts.change_password(
            request.user.user_id,
            wanted.new_password,
            keep_device=request.user.device_id,
            logout_devices=wanted.logout_devices,
        )
        return Response({})

    async def deactivate_account(self, request: Request) -> Response:
        """Application services end the accounts of their own ghosts without further authentication."""
        body = parse_object(request, allow_empty=True)
        wanted = convert(body, _DeactivateBody)
        if request.user.appservice_id is None:
            await self._interactive_auth.check(operation_of(request, body), _PASSWORD)
        await self._accounts.deactivate(request.user.user_id, erase=wanted.erase)
        return Response({"id_server_unbind_result": "success"})

    async def get_threepids(self, request: Request) -> Response:
        """This server keeps no addresses, so that the list is empty."""
        return Response({"threepids": []})

    async def refuse_threepid(self, request: Request) -> Response:
        """Adding or binding an address: capability m.3pid_changes is off."""
        raise ThreepidDenied("This server does not keep e-mail addresses or phone numbers.")

    async def refuse_threepid_token(self, request: Request) -> Response:
        """Every .../requestToken."""
        raise ThreepidMediumNotSupported("This server does not send e-mails or text messages.")

    async def remove_threepid(self, request: Request) -> Response:
        """Removing or unbinding an address: there is none, so there is nothing left to unbind."""
        convert(parse_object(request), _ThreepidBody)
        return Response({"id_server_unbind_result": "success"})
