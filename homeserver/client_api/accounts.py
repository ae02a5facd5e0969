"""The account of whoever asks: who am I, password, deactivation."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.client_api.interactive_auth import operation_of
from homeserver.http.pages import language_of
from homeserver.http.parsing import convert, parse_object
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import Forbidden, GuestAccessForbidden, MissingToken
from homeserver.users.accounts import Accounts
from homeserver.users.identity_servers import parse_id_server
from homeserver.users.interactive_auth import InteractiveAuth
from homeserver.users.password_resets import PasswordResets
from homeserver.users.threepids import Threepids

_PASSWORD = [["m.login.password"]]
_EMAIL = [["m.login.email.identity"]]


class _PasswordBody(msgspec.Struct):
    new_password: str
    logout_devices: bool = True


class _DeactivateBody(msgspec.Struct):
    erase: bool = False
    id_server: str | None = None


class AccountApi:
    """/account."""

    def __init__(
        self, accounts: Accounts, interactive_auth: InteractiveAuth, resets: PasswordResets, threepids: Threepids
    ) -> None:
        self._accounts = accounts
        self._interactive_auth = interactive_auth
        self._resets = resets
        self._threepids = threepids

    async def get_whoami(self, request: Request) -> Response:
        requester = request.user
        members: dict[str, object] = {"user_id": requester.user_id, "is_guest": requester.is_guest}
        if requester.device_id is not None:
            members["device_id"] = requester.device_id
        return Response(members)

    async def change_password(self, request: Request) -> Response:
        """With a token, by the old password; without one, by an e-mail to an address of the account."""
        body = parse_object(request)
        wanted = convert(body, _PasswordBody)
        self._accounts.check_new_password(wanted.new_password)
        requester = request.requester
        if requester is None:
            await self._reset_password(request, body, wanted)
            return Response({})
        if requester.is_guest:
            raise GuestAccessForbidden("Guests have no password; register an account first.")
        if requester.appservice_id is not None:
            raise Forbidden("Application services do not manage passwords.")
        await self._accounts.check_may_change_password(requester.user_id)
        await self._interactive_auth.check(operation_of(request, body), _PASSWORD)
        await self._accounts.change_password(
            requester.user_id,
            wanted.new_password,
            keep_device=requester.device_id,
            logout_devices=wanted.logout_devices,
        )
        return Response({})

    async def _reset_password(self, request: Request, body: dict[str, Any], wanted: _PasswordBody) -> None:
        if not self._resets.can_reset:
            raise MissingToken("This needs an access token: this server cannot reset passwords by e-mail.")
        proved = await self._interactive_auth.check(operation_of(request, body), _EMAIL)
        await self._resets.reset(
            proved.stages["m.login.email.identity"],
            wanted.new_password,
            logout_devices=wanted.logout_devices,
            language=language_of(request),
        )

    async def deactivate_account(self, request: Request) -> Response:
        """Application services end the accounts of their own ghosts without further authentication."""
        body = parse_object(request, allow_empty=True)
        wanted = convert(body, _DeactivateBody)
        if wanted.id_server is not None:  # addresses are taken back wherever they were published
            parse_id_server(wanted.id_server)
        if request.user.appservice_id is None:
            await self._interactive_auth.check(operation_of(request, body), _PASSWORD)
        await self._accounts.deactivate(request.user.user_id, erase=wanted.erase)
        return Response({"id_server_unbind_result": await self._threepids.unbinding_result(request.user.user_id)})
