"""Logging in and out: by password, as an application service, with a token of another session; refreshing.

Every way in passes one gate, `check_may_log_in` (row F02). Spec: Client-Server API, "Login", `POST /login`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.clock import Clock
from homeserver.protocol.errors import BadJson, Exclusive, Forbidden, InvalidParam, UserDeactivated, UserLocked
from homeserver.protocol.identifiers import ServerName, UserId, domain_of, parse_device_id, parse_user_id
from homeserver.storage.access_tokens import AccessTokenStore
from homeserver.storage.accounts import AccountStore
from homeserver.storage.database import Database, Transaction
from homeserver.storage.threepids import ThreepidStore
from homeserver.users.access_tokens import AccessTokens, IssuedTokens
from homeserver.users.appservices import Appservice
from homeserver.users.devices import Devices, check_display_name, new_device_id
from homeserver.users.hooks import UserHooks
from homeserver.users.interactive_auth import Operation
from homeserver.users.operator_logins import OperatorLogins
from homeserver.users.passwords import PasswordCheck
from homeserver.users.requester import Requester
from homeserver.users.secret_tokens import hash_of, new_token
from homeserver.users.threepids import PHONE, canonical_threepid

LOGIN_TOKEN_LIFETIME_MS = 120_000
"""Spec: "`120000` (2 minutes) is recommended as a default."""

_WRONG = "The user name or the password is wrong."
"""The same for everybody and every reason (row F07)."""


@dataclass(frozen=True, slots=True)
class LoginWish:
    """What device the session is for; None: a new one. `refreshable`: the client can refresh its token."""

    device_id: str | None = None
    display_name: str | None = None
    refreshable: bool = False


@dataclass(frozen=True, slots=True)
class Login:
    """A session that was opened, or (`tokens` None) an account that was made without one."""

    user_id: str
    device_id: str | None
    tokens: IssuedTokens | None

    def members(self) -> dict[str, Any]:
        """As the members of an answer to /login or /register."""
        members: dict[str, Any] = {"user_id": self.user_id, "home_server": domain_of(self.user_id)}
        if self.tokens is not None:
            members["device_id"] = self.device_id
            members.update(self.tokens.members())
        return members


class Logins:
    """Opens and closes sessions."""

    def __init__(
        self,
        db: Database,
        accounts: AccountStore,
        token_store: AccessTokenStore,
        threepids: ThreepidStore,
        tokens: AccessTokens,
        devices: Devices,
        passwords: PasswordCheck,
        clock: Clock,
        server_name: ServerName,
        hooks: UserHooks,
    ) -> None:
        self._hooks = hooks
        self._db = db
        self._accounts = accounts
        self._token_store = token_store
        self._threepids = threepids
        self._tokens = tokens
        self._devices = devices
        self._passwords = passwords
        self._clock = clock
        self._server_name = server_name
        self.operator_logins: OperatorLogins | None = None

    async def log_in_with_password(self, user: str, password: str, wish: LoginWish, client_address: str) -> Login:
        """`user`: a user id or its localpart. Raises Forbidden (the same for every reason), UserDeactivated when the
        password was right, LimitExceeded."""
        check_wish(wish)
        user_id = self.user_id_of(user)
        if not await self._passwords.is_right(user_id, password, client_address):
            raise Forbidden(_WRONG)
        return await self._log_in(user_id, wish)

    async def log_in_as_appservice(self, appservice: Appservice, user: str, wish: LoginWish) -> Login:
        """Raises Exclusive outside the service's namespaces, Forbidden for users that it did not register."""
        check_wish(wish)
        user_id = self.user_id_of(user)
        if not appservice.may_act_as(user_id):
            raise Exclusive("This user is not in the namespaces of this application service.")
        return await self._log_in(user_id, wish)

    async def log_in_with_token(self, login_token: str, wish: LoginWish) -> Login:
        """m.login.token: once only. Raises Forbidden."""
        check_wish(wish)
        token_hash = hash_of(login_token)
        now = self._clock.now_ms()
        user_id = await self._db.write(lambda txn: self._token_store.take_login_token(txn, token_hash, now))
        if user_id is None:
            raise Forbidden("This login token is unknown, used or too old.")
        login = await self._log_in(UserId(user_id), wish)
        for used in self._hooks.login_token_used:
            await used(token_hash, user_id, login.device_id or "")
        return login

    async def identify(self, user: str, password: str, client_address: str) -> UserId:
        """Whose password it is, of people who may log in; opens no session. Raises what `log_in_with_password` does."""
        user_id = self.user_id_of(user)
        if not await self._passwords.is_right(user_id, password, client_address):
            raise Forbidden(_WRONG)
        await self._db.write(lambda txn: self.check_may_log_in(txn, user_id))
        return user_id

    async def create_login_token(
        self, requester: Requester, lifetime_ms: int = LOGIN_TOKEN_LIFETIME_MS
    ) -> tuple[str, int]:
        """(token, lifetime in ms) by which another client may log in as this user, once."""
        token = new_token("hdl")
        expires = self._clock.now_ms() + lifetime_ms
        await self._db.write(
            lambda txn: self._token_store.add_login_token(txn, hash_of(token), requester.user_id, expires)
        )
        return token, lifetime_ms

    async def open_session(self, txn: Transaction, user_id: str, wish: LoginWish) -> Login:
        """The session of an account that may have one; tokens that its device had are void."""
        device_id = wish.device_id or new_device_id()
        await self._tokens.revoke_device(txn, user_id, device_id)
        for opened in self._hooks.session_opened:
            await opened(txn, user_id, device_id)
        await self._devices.ensure_device(txn, user_id, device_id, wish.display_name)
        tokens = await self._tokens.issue(txn, user_id, device_id, refreshable=wish.refreshable)
        return Login(user_id, device_id, tokens)

    async def log_out(self, requester: Requester) -> None:
        """The requester's device, with all that belongs to it. An application service's own token is no session."""
        if requester.operator is not None and self.operator_logins is not None:
            await self.operator_logins.end(requester)
            return
        if requester.device_id is not None and requester.appservice_id is None:
            await self._devices.delete_devices(requester.user_id, [requester.device_id])

    async def log_out_everywhere(self, requester: Requester) -> None:
        """Every device of the user, and what the user opened as others. Raises Forbidden for an operator."""
        if requester.operator is not None:
            raise Forbidden("This token can only be logged out alone.")
        if requester.is_admin and self.operator_logins is not None:
            await self.operator_logins.end_all_of(requester.user_id)
        await self._devices.delete_all_devices(requester.user_id)

    def user_id_of(self, user: str) -> UserId:
        """The user id that somebody typed, wholly or as a localpart. Raises Forbidden, as for an unknown user."""
        text = user if user.startswith("@") else f"@{user.lower()}:{self._server_name}"
        try:
            return parse_user_id(text)
        except InvalidParam:
            raise Forbidden(_WRONG) from None

    async def find_identified(self, body: Mapping[str, Any]) -> str | None:
        """The user that a login or `auth` object names: a user id or localpart, or by an address of theirs; None if it
        names nobody. For an address that nobody has, a user id that nobody can have, so that the answer takes as long
        as any other (row F07). Raises BadJson, InvalidParam."""
        named = identified_threepid(body)
        if named is None:
            return identified_user(body)
        medium, address = named
        owner = await self._threepids.find_owner(medium, address)
        # Capitals are in no name that can be registered.
        return owner or f"@NOBODY-{hash_of(f'{medium} {address}')[:32]}:{self._server_name}"

    async def check_password_stage(self, operation: Operation, auth: Mapping[str, Any]) -> str:
        """m.login.password of user-interactive authentication: the password of whoever is logged in (row F04)."""
        password = auth.get("password")
        if not isinstance(password, str):
            raise BadJson("'auth.password' must be a string.")
        user = await self.find_identified(auth)
        if not operation.user_id or (user is not None and self.user_id_of(user) != operation.user_id):
            raise Forbidden("This is not the user who is logged in.")
        if not await self._passwords.is_right(operation.user_id, password, operation.client_address):
            raise Forbidden("The password is wrong.")
        return operation.user_id

    async def _log_in(self, user_id: UserId, wish: LoginWish) -> Login:
        async def log_in(txn: Transaction) -> Login:
            await self.check_may_log_in(txn, user_id)
            return await self.open_session(txn, user_id, wish)

        return await self._db.write(log_in)

    async def check_may_log_in(self, txn: Transaction, user_id: str) -> None:
        """In the transaction that opens the session, so that nobody slips in while being locked out (row F02).
        Raises Forbidden, UserDeactivated, UserLocked."""
        account = await self._accounts.find_account(user_id, txn)
        if account is None:
            raise Forbidden(_WRONG)
        if account.is_deactivated:
            raise UserDeactivated("This account was deactivated.")
        if account.is_locked:
            raise UserLocked("This account has been locked.", soft_logout=True)


def identified_user(body: Mapping[str, Any]) -> str | None:
    """The user that a login or `auth` object names: `identifier` of the type m.id.user, or the old `user`.
    None if it names nobody. Raises BadJson, InvalidParam."""
    identifier = body.get("identifier")
    if identifier is None:
        user = body.get("user")
        if user is not None and not isinstance(user, str):
            raise BadJson("'user' must be a string.")
        return user
    if not isinstance(identifier, dict):
        raise BadJson("'identifier' must be an object.")
    if identifier.get("type") != "m.id.user":
        raise InvalidParam("'identifier.type' must be one of m.id.user, m.id.thirdparty and m.id.phone.")
    user = identifier.get("user")
    if not isinstance(user, str):
        raise BadJson("'identifier.user' must be a string.")
    return user


def identified_threepid(body: Mapping[str, Any]) -> tuple[str, str] | None:
    """The (medium, canonical address) that names the user, where no user id does; also in the old form, beside
    `identifier`. An address that is none is one that nobody has. Raises BadJson."""
    identifier = body.get("identifier", body if "medium" in body else None)
    if not isinstance(identifier, dict) or identifier.get("type") == "m.id.user":
        return None
    if identifier.get("type") == "m.id.phone":
        medium, address = PHONE, identifier.get("phone", identifier.get("number"))
    elif "medium" in identifier:
        medium, address = identifier["medium"], identifier.get("address")
    else:
        return None
    if not isinstance(medium, str) or not isinstance(address, str):
        raise BadJson("An address that names a user has a 'medium' and an 'address', which are strings.")
    if medium == PHONE:
        address = "".join(character for character in address if character not in "+ -()./")
    return medium, canonical_threepid(medium, address) or address


def check_wish(wish: LoginWish) -> None:
    """Raises InvalidParam, TooLarge."""
    if wish.device_id is not None:
        parse_device_id(wish.device_id)
    check_display_name(wish.display_name)
