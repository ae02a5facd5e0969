"""How new accounts come to be: who may register, under which name, and with what proof.

Every way in ends in one place, `_finish` (row F09): people by user-interactive authentication, application services by
their as_token, operators by the shared secret, guests by asking. Spec: Client-Server API, `POST /register`.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from homeserver.clock import Clock
from homeserver.hooks import Hooks, RegistrationToCheck
from homeserver.pages.languages import Language
from homeserver.protocol.errors import (
    CaptchaInvalid,
    CaptchaNeeded,
    Exclusive,
    Forbidden,
    GuestAccessForbidden,
    InvalidUsername,
    MissingParam,
    Unauthorized,
    UserInUse,
)
from homeserver.protocol.identifiers import ServerName, UserId, localpart_of, new_user_id
from homeserver.storage.accounts import Account, AccountStore
from homeserver.storage.database import Database, Transaction
from homeserver.storage.registration_tokens import RegistrationTokenStore
from homeserver.users.access_tokens import AccessTokens
from homeserver.users.accounts import Accounts
from homeserver.users.appservices import Appservice, Namespaces
from homeserver.users.consents import Consents
from homeserver.users.interactive_auth import InteractiveAuth, Operation
from homeserver.users.login import Login, Logins, LoginWish, check_wish
from homeserver.users.passwords import Passwords
from homeserver.users.validation_sessions import EmailToValidate, ValidationSessions

_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class RegistrationSettings:
    """`is_open`: people may register; `needs_token`: only with a registration token; `policies`: the documents of
    m.login.terms that must be accepted (the shape of the spec's `params`); `recaptcha_public_key`: a captcha must be
    solved; `allows_guests`: guests may be made; `needs_email`: people must confirm an e-mail address."""

    is_open: bool = False
    needs_token: bool = False
    policies: Mapping[str, Any] = field(default_factory=dict)
    recaptcha_public_key: str | None = None
    allows_guests: bool = False
    needs_email: bool = False

    def flows(self, *, can_validate: bool = False) -> list[list[str]]:
        """What registration asks for. `can_validate`: e-mail addresses can be confirmed, and people may give one."""
        stages = []
        if self.needs_token:
            stages.append("m.login.registration_token")
        if self.recaptcha_public_key is not None:
            stages.append("m.login.recaptcha")
        if self.policies:
            stages.append("m.login.terms")
        with_email = [*stages, "m.login.email.identity"]
        if self.needs_email:
            return [with_email]
        return [stages or ["m.login.dummy"], with_email] if can_validate else [stages or ["m.login.dummy"]]


@dataclass(frozen=True, slots=True)
class RegistrationWish:
    """What the client asks for. `login` is None to make the account only (`inhibit_login`)."""

    username: str | None
    password: str | None
    login: LoginWish | None
    guest_access_token: str | None = None


AlsoWrite = Callable[[Transaction, str], Awaitable[None]]
"""(txn, user_id): what else belongs to the transaction that makes an account."""


class Registration:
    """Makes accounts for those who may have one."""

    def __init__(
        self,
        db: Database,
        accounts: Accounts,
        account_store: AccountStore,
        registration_tokens: RegistrationTokenStore,
        passwords: Passwords,
        logins: Logins,
        access_tokens: AccessTokens,
        interactive_auth: InteractiveAuth,
        validation_sessions: ValidationSessions,
        consents: Consents,
        namespaces: Namespaces,
        hooks: Hooks,
        clock: Clock,
        server_name: ServerName,
        settings: RegistrationSettings,
    ) -> None:
        self._db = db
        self._accounts = accounts
        self._account_store = account_store
        self._registration_tokens = registration_tokens
        self._passwords = passwords
        self._logins = logins
        self._access_tokens = access_tokens
        self._interactive_auth = interactive_auth
        self._validation_sessions = validation_sessions
        self._consents = consents
        self._namespaces = namespaces
        self._hooks = hooks
        self._clock = clock
        self._server_name = server_name
        self._settings = settings

    @property
    def settings(self) -> RegistrationSettings:
        return self._settings

    def flows(self) -> list[list[str]]:
        """What registration asks for now."""
        return self._settings.flows(can_validate=self._validation_sessions.can_validate)

    async def register(self, operation: Operation, wish: RegistrationWish) -> Login:
        """A person registers. Raises Forbidden, InvalidUsername, UserInUse, Exclusive, WeakPassword before, and again
        after, the user-interactive authentication that it asks for."""
        self._check_open()
        guest_id = await self._guest_to_upgrade(wish)
        user_id = guest_id or await self.check_username(wish.username)
        if wish.password is not None:
            self._passwords.check_policy(wish.password)
        if wish.login is not None:
            check_wish(wish.login)
        await self._check_hooks(user_id, operation.client_address)
        proved = await self._interactive_auth.check(operation, self.flows())
        token = proved.stages.get("m.login.registration_token") if self._settings.needs_token else None
        sid = proved.stages.get("m.login.email.identity")
        accepts = "m.login.terms" in proved.stages
        if guest_id is not None:
            return await self._upgrade_guest(guest_id, wish, token, sid, accepts_terms=accepts)
        return await self._finish(user_id, wish, registration_token=token, email_sid=sid, accepts_terms=accepts)

    async def register_guest(self, login: LoginWish, client_address: str) -> Login:
        """ "When registering a guest account, all parameters in the request body with the exception of
        `initial_device_display_name` MUST BE ignored". Raises GuestAccessForbidden."""
        if not self._settings.allows_guests:
            raise GuestAccessForbidden("This server does not allow guests.")
        user_id = await self.check_username(None)
        await self._check_hooks(user_id, client_address, is_guest=True)
        wish = RegistrationWish(None, None, LoginWish(display_name=login.display_name))
        return await self._finish(user_id, wish, is_guest=True)

    async def register_appservice_user(self, appservice: Appservice, wish: RegistrationWish) -> Login:
        """A ghost. Raises Exclusive when the name is outside the service's namespaces (row F10)."""
        if wish.username is None:
            raise InvalidUsername("An application service must name the user.")
        user_id = new_user_id(wish.username.lower(), self._server_name)
        if not appservice.may_act_as(user_id):
            raise Exclusive("This user id is not in the namespaces of this application service.")
        if await self._account_store.find_account(user_id) is not None:
            raise UserInUse("This user name is taken.")
        return await self._finish(user_id, wish, appservice_id=appservice.id)

    async def register_by_operator(
        self, wish: RegistrationWish, *, display_name: str | None, is_admin: bool, user_type: str | None
    ) -> Login:
        """An operator's tool makes an account; registration need not be open."""
        user_id = await self.check_username(wish.username)
        return await self._finish(user_id, wish, display_name=display_name, is_admin=is_admin, user_type=user_type)

    async def register_by_provider(
        self, username: str, display_name: str | None, client_address: str, also: AlsoWrite | None = None
    ) -> UserId:
        """Somebody whom another service vouches for; registration need not be open, and there is no password. `also`
        writes whose account it is there, in the same transaction. Raises InvalidUsername, Exclusive, UserInUse, and
        what the hooks raise."""
        if not username:
            raise InvalidUsername("A user name is needed.")
        user_id = await self.check_username(username)
        await self._check_hooks(user_id, client_address)
        await self._finish(user_id, RegistrationWish(username, None, None), display_name=display_name, also=also)
        return user_id

    async def check_available(self, username: str) -> None:
        """Raises what registering this name would raise."""
        self._check_open()
        await self.check_username(username)

    async def check_username(self, username: str | None) -> UserId:
        """The user id for a wished name, or a new random one. Raises InvalidUsername, Exclusive, UserInUse."""
        if username is None:
            return new_user_id("".join(secrets.choice(_ALPHABET) for _ in range(12)), self._server_name)
        user_id = new_user_id(username.lower(), self._server_name)
        if self._namespaces.owner_of_user(user_id) is not None:
            raise Exclusive("This user name is reserved for an application service.")
        if localpart_of(user_id).startswith("_"):
            raise InvalidUsername("User names that begin with an underscore are reserved for application services.")
        if await self._account_store.find_account(user_id) is not None:
            raise UserInUse("This user name is taken.")
        return user_id

    async def request_email(self, wanted: EmailToValidate, language: Language) -> str:
        """Confirm an address before registering. Raises Forbidden where registration is closed, and what
        `ValidationSessions.request_email` raises."""
        self._check_open()
        return await self._validation_sessions.request_email("register", wanted, language)

    async def token_is_valid(self, token: str) -> bool:
        """Whether a registration token could be used now. Raises Forbidden where registration is closed."""
        self._check_open()
        found = await self._registration_tokens.find_token(token)
        return found is not None and found.is_valid(self._clock.now_ms())

    def _check_open(self) -> None:
        if not self._settings.is_open:
            raise Forbidden("Registration is closed on this server; ask its operator for an account.")

    async def _check_hooks(self, user_id: UserId, client_address: str, *, is_guest: bool = False) -> None:
        wish = RegistrationToCheck(localpart_of(user_id), client_address, is_guest)
        for check_registration in self._hooks.check_registration:
            await check_registration(wish)

    async def _finish(
        self,
        user_id: UserId,
        wish: RegistrationWish,
        *,
        display_name: str | None = None,
        is_guest: bool = False,
        is_admin: bool = False,
        appservice_id: str | None = None,
        user_type: str | None = None,
        registration_token: str | None = None,
        email_sid: str | None = None,
        accepts_terms: bool = False,
        also: AlsoWrite | None = None,
    ) -> Login:
        """The one place where registration makes an account: it, its use of a token and its session, or nothing."""
        if wish.login is not None:
            check_wish(wish.login)
        password_hash = None if wish.password is None else await self._passwords.hash(wish.password)
        account = Account(
            user_id=user_id,
            created_ts=self._clock.now_ms(),
            password_hash=password_hash,
            is_guest=is_guest,
            is_admin=is_admin,
            appservice_id=appservice_id,
            user_type=user_type,
        )

        async def finish(txn: Transaction) -> Login:
            if not await self._accounts.add_account(txn, account, display_name):
                raise UserInUse("This user name is taken.")
            await self._use_token(txn, registration_token)
            await self._use_email(txn, email_sid, user_id)
            if accepts_terms:
                await self._consents.accept(txn, user_id)
            if also is not None:
                await also(txn, user_id)
            return await self._open_session(txn, user_id, wish)

        return await self._db.write(finish)

    async def _guest_to_upgrade(self, wish: RegistrationWish) -> UserId | None:
        """Spec, "Guest Access": guests upgrade with `guest_access_token`, and `username` is their own localpart."""
        if wish.guest_access_token is None:
            return None
        known = await self._access_tokens.find(wish.guest_access_token)
        if known is None or not known.requester.is_guest or wish.username != localpart_of(known.requester.user_id):
            raise Forbidden("The guest access token is not that of this user.")
        return UserId(known.requester.user_id)

    async def _upgrade_guest(
        self,
        user_id: UserId,
        wish: RegistrationWish,
        registration_token: str | None,
        email_sid: str | None,
        *,
        accepts_terms: bool,
    ) -> Login:
        password_hash = None if wish.password is None else await self._passwords.hash(wish.password)

        async def upgrade(txn: Transaction) -> Login:
            account = await self._account_store.get_account(user_id, txn)
            if not account.is_guest or account.is_deactivated:  # another request was quicker (row F05)
                raise Forbidden("The guest access token is not that of this user.")
            await self._use_token(txn, registration_token)
            await self._use_email(txn, email_sid, user_id)
            if accepts_terms:
                await self._consents.accept(txn, user_id)
            await self._account_store.set_flag(txn, user_id, "is_guest", False)
            await self._account_store.set_password_hash(txn, user_id, password_hash)
            await self._accounts.publish_profile(txn, user_id)
            await self._access_tokens.revoke_user(txn, user_id)
            return await self._open_session(txn, user_id, wish)

        return await self._db.write(upgrade)

    async def _use_token(self, txn: Transaction, registration_token: str | None) -> None:
        if registration_token is None:
            return
        if not await self._registration_tokens.use_token(txn, registration_token, self._clock.now_ms()):
            raise Forbidden("This registration token has been used up.")

    async def _use_email(self, txn: Transaction, sid: str | None, user_id: UserId) -> None:
        if sid is not None:
            await self._validation_sessions.give_address(txn, "register", sid, user_id)

    async def _open_session(self, txn: Transaction, user_id: UserId, wish: RegistrationWish) -> Login:
        if wish.login is None:
            return Login(user_id, None, None)
        return await self._logins.open_session(txn, user_id, wish.login)


class RegistrationStages:
    """The stages of user-interactive authentication that only registration uses."""

    def __init__(self, registration_tokens: RegistrationTokenStore, hooks: Hooks, clock: Clock) -> None:
        self._registration_tokens = registration_tokens
        self._hooks = hooks
        self._clock = clock

    async def check_token(self, operation: Operation, auth: Mapping[str, Any]) -> str:
        """m.login.registration_token: proves the token, which is counted when the account is made."""
        token = auth.get("token")
        if not isinstance(token, str) or not token:
            raise MissingParam("'auth.token' must be the registration token.")
        found = await self._registration_tokens.find_token(token)
        if found is None or not found.is_valid(self._clock.now_ms()):
            raise Unauthorized("This registration token is not valid.")
        return found.token

    async def check_captcha(self, operation: Operation, auth: Mapping[str, Any]) -> str:
        """m.login.recaptcha: every verifier in the hooks must be content, and there must be one."""
        response = auth.get("response")
        if not isinstance(response, str) or not response:
            raise CaptchaNeeded("'auth.response' must be the captcha's answer.")
        if not self._hooks.verify_captcha:
            raise CaptchaInvalid("This server cannot check captchas at the moment.")
        for verify_captcha in self._hooks.verify_captcha:
            if not await verify_captcha(response, operation.client_address):
                raise CaptchaInvalid("The captcha was not solved.")
        return ""

    async def check_terms(self, operation: Operation, auth: Mapping[str, Any]) -> str:
        """m.login.terms: "submitting the stage" is the acceptance of all policies."""
        return ""

    async def check_dummy(self, operation: Operation, auth: Mapping[str, Any]) -> str:
        """m.login.dummy: "always succeeds and requires no extra parameters"."""
        return ""
