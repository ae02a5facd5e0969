"""Whose token is this? The answer is on the path of every request, so what was asked before is answered from memory.

Implements `http.authentication.TokenVerifier`. Spec: Client-Server API, "Using access tokens", "Account locking";
Application Service API, "Identity assertion".
"""

from __future__ import annotations

from homeserver.clock import Clock
from homeserver.protocol.errors import AccountEnded, Forbidden, UnknownDevice, UnknownToken, UserLocked
from homeserver.protocol.identifiers import parse_user_id
from homeserver.storage.devices import DeviceStore
from homeserver.users.access_tokens import AccessTokens
from homeserver.users.accounts import Accounts
from homeserver.users.appservices import Appservice, AppserviceRegistry
from homeserver.users.last_seen import LastSeen
from homeserver.users.requester import Requester


class Authentication:
    """Tokens of people and of application services."""

    def __init__(
        self,
        tokens: AccessTokens,
        accounts: Accounts,
        devices: DeviceStore,
        appservices: AppserviceRegistry,
        last_seen: LastSeen,
        clock: Clock,
    ) -> None:
        self._tokens = tokens
        self._accounts = accounts
        self._devices = devices
        self._appservices = appservices
        self._last_seen = last_seen
        self._now_ms = clock.now_ms
        self._known = tokens.known
        self._note = last_seen.note

    async def verify_token(
        self,
        token: str,
        *,
        acts_as: str | None = None,
        device_id: str | None = None,
        address: str = "",
        user_agent: str = "",
        even_locked: bool = False,
    ) -> Requester:
        """See `TokenVerifier`. `even_locked`: for /logout, which an account that is locked or has ended may still call.

        Raises UnknownToken (with `soft_logout` when it has expired), AccountEnded, UserLocked, Forbidden,
        UnknownDevice.
        """
        known = self._known.get(token)
        if known is None:
            appservice = self._appservices.find_by_token(token)
            if appservice is not None:
                return await self._verify_appservice(appservice, acts_as, device_id)
            known = await self._tokens.find(token)
            if known is None:
                raise UnknownToken("This access token is unknown; log in again.", soft_logout=False)
        if known.expires_ts <= self._now_ms():
            if known.expires_ts < known.account_ends_ts:
                raise UnknownToken("This access token has expired; refresh it or log in again.", soft_logout=True)
            if not even_locked:
                raise AccountEnded("This account has ended; it can be renewed.")
        if known.is_locked and not even_locked:
            raise UserLocked("This account has been locked.", soft_logout=True)
        requester = known.requester
        self._note(requester.user_id, requester.device_id or "", address, user_agent)
        return requester

    def find_appservice(self, token: str) -> Appservice | None:
        """The application service whose as_token this is, or None."""
        return self._appservices.find_by_token(token)

    async def _verify_appservice(self, appservice: Appservice, acts_as: str | None, device_id: str | None) -> Requester:
        """Row F10: the namespaces are asked at every call."""
        user_id = appservice.sender if acts_as is None else acts_as
        if not appservice.may_act_as(user_id):
            raise Forbidden("This application service may not act as that user.")
        ghosts = self._tokens.ghosts.get(user_id)
        if ghosts is not None and (appservice.id, device_id) in ghosts:
            return ghosts[(appservice.id, device_id)]
        forgotten = self._tokens.forgotten
        account = await self._accounts.find_account(user_id)
        if account is None and user_id == appservice.sender:
            account = await self._accounts.ensure_sender(parse_user_id(user_id), appservice.id)
        if account is None or account.is_deactivated:
            raise Forbidden("This application service has not registered that user.")
        if account.is_locked:
            raise UserLocked("This account has been locked.", soft_logout=True)
        if device_id is not None and await self._devices.find_device(user_id, device_id) is None:
            raise UnknownDevice("This user has no such device.")
        requester = Requester(
            user_id=user_id,
            device_id=device_id,
            is_guest=account.is_guest,
            is_suspended=account.is_suspended,
            appservice_id=appservice.id,
        )
        self._tokens.remember_ghost(appservice.id, requester, forgotten)
        return requester
