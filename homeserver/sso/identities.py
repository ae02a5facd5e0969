"""Logging in by an identity provider: the way there and back, whose account it is, and the end that a provider calls.

An identity is a pair of issuer and subject, and belongs to one user for ever; names and addresses, which change, only
propose a user name to somebody new (row F12).
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from homeserver.clock import Clock
from homeserver.protocol.errors import Forbidden, MatrixError, NotFound, Unavailable, UserInUse
from homeserver.protocol.identifiers import ServerName
from homeserver.sso.claims import fill_template, localpart_from
from homeserver.sso.provider import Provider, ProviderFailed
from homeserver.sso.signed_tokens import WrongToken
from homeserver.storage.accounts import AccountStore
from homeserver.storage.browser_sessions import BrowserSessionStore
from homeserver.storage.database import Database, Transaction
from homeserver.storage.identities import IdentityAttempt, IdentityStore, Newcomer
from homeserver.storage.threepids import Threepid, ThreepidStore
from homeserver.users.devices import Devices
from homeserver.users.login import Logins
from homeserver.users.registration import Registration
from homeserver.users.secret_tokens import hash_of
from homeserver.users.threepids import canonical_threepid

_log = logging.getLogger("homeserver.sso")
ATTEMPT_LIFETIME_MS: Final = 10 * 60 * 1000
NEWCOMER_LIFETIME_MS: Final = 30 * 60 * 1000
LOGOUT_KEPT_MS: Final = 10 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody came back: as `user_id`, or (None) as a newcomer who must choose a name. `provider_session`: what the
    provider calls the session. `next_page`: where they wanted to go."""

    user_id: str | None
    provider_id: str
    provider_session: str | None
    next_page: str


class Identities:
    """The providers' people."""

    def __init__(
        self,
        db: Database,
        store: IdentityStore,
        accounts: AccountStore,
        browser_sessions: BrowserSessionStore,
        logins: Logins,
        registration: Registration,
        devices: Devices,
        threepids: ThreepidStore,
        clock: Clock,
        server_name: ServerName,
        providers: Mapping[str, Provider],
    ) -> None:
        self._db = db
        self._store = store
        self._accounts = accounts
        self._browser_sessions = browser_sessions
        self._logins = logins
        self._registration = registration
        self._devices = devices
        self._threepids = threepids
        self._clock = clock
        self._server_name = server_name
        self._providers = providers

    async def has_identity(self, user_id: str) -> bool:
        """Whether a provider's account belongs to the user."""
        return bool(self._providers) and await self._store.has_identity(user_id)

    def get_provider(self, provider_id: str) -> Provider:
        """Raises NotFound."""
        if provider_id not in self._providers:
            raise NotFound("This server does not know that identity provider.")
        return self._providers[provider_id]

    async def depart(self, provider_id: str, browser_secret: str, next_page: str, *, prove: bool = False) -> str:
        """Where the browser goes to log in; `prove`: the provider is asked not to take an earlier login for it.
        Raises NotFound, Unavailable."""
        provider = self.get_provider(provider_id)
        try:
            departure = await provider.depart(prove=prove)
        except ProviderFailed as error:
            raise _failed(provider_id, error) from None
        now = self._clock.now_ms()
        attempt = IdentityAttempt(
            hash_of(departure.state),
            provider_id,
            hash_of(browser_secret),
            departure.nonce,
            departure.code_verifier,
            next_page,
            now + ATTEMPT_LIFETIME_MS,
        )
        await self._db.write(lambda txn: self._store.add_attempt(txn, attempt, now))
        return departure.url

    async def arrive(self, provider_id: str, browser_secret: str, query: Mapping[str, str]) -> Arrival:
        """The browser came back to the provider's callback. Raises Forbidden, NotFound, Unavailable."""
        provider = self.get_provider(provider_id)
        state_hash = hash_of(query.get("state", ""))
        attempt = await self._db.write(lambda txn: self._store.take_attempt(txn, state_hash))
        if (
            attempt is None
            or attempt.expires_ts <= self._clock.now_ms()
            or attempt.provider_id != provider_id
            or not hmac.compare_digest(attempt.browser_hash, hash_of(browser_secret))
        ):
            raise Forbidden("This login was not begun in this browser, or is too old; start again.")
        if "error" in query or not query.get("code"):
            raise Forbidden("The identity provider did not log you in.")
        try:
            claims = await provider.arrive(query["code"], attempt.code_verifier, attempt.nonce, query.get("iss"))
        except (ProviderFailed, WrongToken) as error:
            raise _failed(provider_id, error) from None
        session = claims.get("sid")
        provider_session = session if isinstance(session, str) and 0 < len(session) <= 255 else claims["sub"]
        user_id = await self._find_or_make(provider, claims)
        if user_id is None:
            await self._remember_newcomer(provider, claims, browser_secret, provider_session, attempt.next_page)
        else:
            await self._db.write(lambda txn: self._logins.check_may_log_in(txn, user_id))
        return Arrival(user_id, provider_id, provider_session, attempt.next_page)

    async def account_ended(self, user_id: str, erase: bool) -> None:
        """An account was deactivated. Its identities stay, so that nobody comes back as somebody new; unless the person
        wants to be forgotten."""
        if erase:
            await self._db.write(lambda txn: self._store.remove_identities_of_user(txn, user_id))

    async def find_newcomer(self, browser_secret: str) -> Newcomer:
        """Who waits in this browser for a name. Raises NotFound."""
        found = await self._store.find_newcomer(hash_of(browser_secret))
        if found is None or found.expires_ts <= self._clock.now_ms() or found.provider_id not in self._providers:
            raise NotFound("Nobody waits here for a user name; log in again.")
        return found

    async def settle_newcomer(self, newcomer: Newcomer, username: str, client_address: str) -> Arrival:
        """The newcomer chose a name. Raises what registering it raises."""
        user_id = await self._register(
            newcomer.issuer, newcomer.subject, username, newcomer.display_name, newcomer.email, client_address
        )
        await self._db.write(lambda txn: self._store.remove_newcomer(txn, newcomer.browser_hash))
        return Arrival(user_id, newcomer.provider_id, newcomer.provider_session, newcomer.next_page)

    async def log_out(self, provider_id: str, token: str) -> None:
        """Back-channel logout: the provider ends what began with it. Raises NotFound, WrongToken, Unavailable."""
        provider = self.get_provider(provider_id)
        try:
            claims = await provider.tokens.read_logout_token(token)
        except ProviderFailed as error:
            raise _failed(provider_id, error) from None
        now = self._clock.now_ms()
        token_id = hash_of(f"{provider_id} {claims['jti']}")
        if not await self._db.write(lambda txn: self._store.use_logout_token(txn, token_id, now + LOGOUT_KEPT_MS, now)):
            raise WrongToken("it was used before")
        session, subject = claims.get("sid"), claims.get("sub")
        user_id = None if subject is None else await self._store.find_user(provider.settings.issuer, subject)
        if session is None and user_id is None:
            return
        if session is None:
            assert user_id is not None
            await self._db.write(lambda txn: self._browser_sessions.remove_sessions_of_user(txn, user_id))
        # A provider that names no session in its ID tokens may do so at logout; then the person stands for it.
        names = [None] if session is None else [name for name in (session, subject) if name is not None]
        for name in names:
            if name is not None:
                await self._db.write(partial(self._end_browsers, provider_id, name))
            for owner, device_id in await self._store.list_devices(provider_id, name, user_id):
                if user_id is None or owner == user_id:
                    await self._devices.delete_devices(owner, [device_id])

    async def _end_browsers(self, provider_id: str, provider_session: str, txn: Transaction) -> None:
        await self._browser_sessions.remove_sessions_of_provider(txn, provider_id, provider_session)

    async def note_device(self, txn: Transaction, browser_hash: str, user_id: str, device_id: str) -> None:
        """A device got its session by a browser's consent: if a provider had logged that in, the provider may end the
        device's session, too."""
        session = await self._browser_sessions.find_session(browser_hash, txn)
        if session is not None and session.provider_id is not None and session.provider_session is not None:
            await self._store.set_session(txn, session.provider_id, session.provider_session, user_id, device_id)

    async def note_login_token(self, token: str, browser_hash: str, lifetime_ms: int) -> None:
        """A browser session gave out a login token of the legacy API."""
        now = self._clock.now_ms()
        await self._db.write(
            lambda txn: self._store.add_login_token(txn, hash_of(token), browser_hash, now + lifetime_ms, now)
        )

    async def login_token_used(self, token_hash: str, user_id: str, device_id: str) -> None:
        """A device logged in by such a token."""
        browser_hash = await self._store.find_browser_of_login_token(token_hash)
        if browser_hash is not None:
            await self._db.write(lambda txn: self.note_device(txn, browser_hash, user_id, device_id))

    async def _find_or_make(self, provider: Provider, claims: Mapping[str, Any]) -> str | None:
        settings, subject = provider.settings, claims["sub"]
        known = await self._store.find_user(settings.issuer, subject)
        if known is not None:
            return known
        wanted = localpart_from(fill_template(settings.localpart, claims))
        if wanted and settings.allows_existing:
            user_id = f"@{wanted}:{self._server_name}"
            account = await self._accounts.find_account(user_id)
            if account is not None and not (account.is_deactivated or account.is_guest or account.appservice_id):
                await self._link(settings.issuer, subject, user_id)
                return user_id
        if not settings.registers:
            raise Forbidden("There is no account here for you; ask the operator of this server for one.")
        try:
            name = fill_template(settings.display_name, claims) or None
            return await self._register(settings.issuer, subject, wanted, name, _email(provider, claims), "")
        except Unavailable:
            raise
        except MatrixError:  # taken, reserved, or no name at all: the person chooses
            return None

    async def _register(
        self, issuer: str, subject: str, username: str, name: str | None, email: str | None, client_address: str
    ) -> str:
        known = await self._store.find_user(issuer, subject)
        if known is not None:
            raise UserInUse("You have an account here already; log in again.")
        now = self._clock.now_ms()

        async def link(txn: Transaction, user_id: str) -> None:
            if not await self._store.add_identity(txn, issuer, subject, user_id, now):
                raise UserInUse("You have an account here already; log in again.")

        user_id = await self._registration.register_by_provider(username, name, client_address, link)
        address = None if email is None else canonical_threepid("email", email)
        if address is not None:
            threepid = Threepid("email", address, user_id, now, now)
            await self._db.write(lambda txn: self._threepids.add_threepid(txn, threepid))
        return user_id

    async def _link(self, issuer: str, subject: str, user_id: str) -> None:
        now = self._clock.now_ms()
        if not await self._db.write(lambda txn: self._store.add_identity(txn, issuer, subject, user_id, now)):
            raise UserInUse("You have an account here already; log in again.")

    async def _remember_newcomer(
        self, provider: Provider, claims: Mapping[str, Any], secret: str, session: str, next_page: str
    ) -> None:
        settings, now = provider.settings, self._clock.now_ms()
        newcomer = Newcomer(
            browser_hash=hash_of(secret),
            provider_id=settings.id,
            issuer=settings.issuer,
            subject=claims["sub"],
            localpart=localpart_from(fill_template(settings.localpart, claims)),
            display_name=fill_template(settings.display_name, claims) or None,
            email=_email(provider, claims),
            provider_session=session,
            next_page=next_page,
            expires_ts=now + NEWCOMER_LIFETIME_MS,
        )
        await self._db.write(lambda txn: self._store.set_newcomer(txn, newcomer, now))


def _email(provider: Provider, claims: Mapping[str, Any]) -> str | None:
    """The person's address, if the provider says that it is theirs."""
    if claims.get("email_verified") is not True:
        return None
    return fill_template(provider.settings.email, claims) or None


def _failed(provider_id: str, error: Exception) -> Unavailable:
    _log.warning("Identity provider %s: %s", provider_id, error)
    return Unavailable("The identity provider cannot be used at the moment; please try again later.")
