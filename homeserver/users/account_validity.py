"""Accounts that end unless they are renewed: by a link that is e-mailed in time, or by an operator.

An account that has ended is not deactivated: it can do nothing but log out and ask for another link, and goes on where
it was once it is renewed. Administrators, guests and bridges' ghosts have no end.
The paths and the error code are those that clients and tools know from Synapse.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from homeserver.clock import Clock, Timer
from homeserver.mail import messages
from homeserver.mail.mailer import Mailer, MailFailed
from homeserver.pages.languages import Language
from homeserver.protocol.errors import InvalidParam, MatrixError, NotFound, ThreepidMediumNotSupported
from homeserver.protocol.identifiers import ServerName
from homeserver.storage.account_validity import AccountValidityStore, Validity
from homeserver.storage.accounts import AccountStore
from homeserver.storage.database import Database, Transaction
from homeserver.users.access_tokens import AccessTokens
from homeserver.users.secret_tokens import hash_of, new_token
from homeserver.users.threepids import Threepids
from homeserver.users.validation_sessions import MessageLimiter

RENEW_PATH: Final = "/_matrix/client/unstable/account_validity/renew"
CHECK_SECONDS: Final = 3600.0
_PAGE: Final = 500
_DAY_MS: Final = 24 * 3600 * 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ValiditySettings:
    """`period_days`: how long an account lasts, and by how much it is renewed; None: for ever. `renew_days`: how long
    before its end the e-mail is sent, in `language`. `base_url`: the server's public address, for links."""

    period_days: int | None = None
    renew_days: int = 14
    base_url: str = ""
    language: Language = "en"


class AccountValidity:
    """Gives accounts their end, tells their owners, renews them."""

    def __init__(
        self,
        db: Database,
        store: AccountValidityStore,
        accounts: AccountStore,
        threepids: Threepids,
        tokens: AccessTokens,
        mailer: Mailer,
        limiter: MessageLimiter,
        clock: Clock,
        server_name: ServerName,
        settings: ValiditySettings,
    ) -> None:
        self._db = db
        self._store = store
        self._accounts = accounts
        self._threepids = threepids
        self._tokens = tokens
        self._mailer = mailer
        self._limiter = limiter
        self._clock = clock
        self._server_name = server_name
        self._settings = settings
        self._timer: Timer | None = None
        self._checking: asyncio.Task[None] | None = None
        if self.is_enabled:
            tokens.find_end = self.find_end

    @property
    def is_enabled(self) -> bool:
        """Whether accounts end at all."""
        return self._settings.period_days is not None

    async def find_end(self, user_id: str) -> int | None:
        """When the account ends, in milliseconds; None: it does not."""
        validity = await self._store.find_validity(user_id)
        return None if validity is None else validity.expires_ts

    # ---- renewing

    async def find_by_link(self, token: str) -> str:
        """Whose account a link would renew. Raises NotFound."""
        user_id = await self._store.find_by_token(hash_of(token))
        if user_id is None:
            raise NotFound("This link was used already, or is too old.")
        return user_id

    async def renew_by_link(self, token: str) -> int:
        """The link is spent. Returns the new end, in milliseconds. Raises NotFound."""

        async def renew(txn: Transaction) -> int:
            user_id = await self._store.find_by_token(hash_of(token), txn)
            if user_id is None:
                raise NotFound("This link was used already, or is too old.")
            return await self._renew(txn, user_id, None, sends_mails=True)

        return await self._db.write(renew)

    async def renew_by_operator(self, user_id: str, expires_ts: int | None, *, sends_mails: bool) -> int:
        """Until `expires_ts` (milliseconds), or for another period; the new end. Raises NotFound, InvalidParam."""
        if not self.is_enabled:
            raise InvalidParam("Accounts do not end on this server (account_validity.enabled).")
        await self._accounts.get_account(user_id)
        return await self._db.write(lambda txn: self._renew(txn, user_id, expires_ts, sends_mails=sends_mails))

    async def send_mail(self, user_id: str) -> None:
        """The owner asks for a link. Raises InvalidParam, ThreepidMediumNotSupported, NotFound (no address),
        LimitExceeded."""
        validity = await self._store.find_validity(user_id)
        if not self.is_enabled or validity is None:
            raise InvalidParam("This account does not end.")
        if not self._mailer.can_send:
            raise ThreepidMediumNotSupported("This server does not send e-mails.")
        addresses = await self._threepids.list_emails(user_id)
        if not addresses:
            raise NotFound("This account has no e-mail address; ask the operator to renew it.")
        for address in addresses:
            self._limiter.take(address)
        await self._mail(validity, addresses)

    # ---- beside the requests

    def start(self) -> None:
        """Look once an hour who is to be given an end, and who is to be told."""
        if self.is_enabled and self._timer is None:
            self._timer = self._clock.call_later(0.0, self._check_soon)

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait([self._checking])

    async def check(self) -> None:
        """What `start` does each hour."""
        now = self._clock.now_ms()
        while waiting := await self._store.list_without_end(_PAGE):
            await self._give_end(waiting, now + self._period_ms())
        if not self._mailer.can_send:
            return
        until = now + self._settings.renew_days * _DAY_MS
        while due := await self._store.list_to_mail(now, until, _PAGE):
            for validity in due:
                await self._mail(validity, await self._threepids.list_emails(validity.user_id))

    # ---- how

    def _check_soon(self) -> None:
        self._checking = asyncio.get_running_loop().create_task(self._check_quietly())
        self._timer = self._clock.call_later(CHECK_SECONDS, self._check_soon)

    async def _check_quietly(self) -> None:
        try:
            await self.check()
        except MatrixError as error:  # the database is away: in an hour again
            _log.warning("Ends of accounts were not looked at: %s", error.message)

    async def _give_end(self, user_ids: list[str], expires_ts: int) -> None:
        async def give(txn: Transaction) -> None:
            for user_id in user_ids:
                await self._store.add_validity(txn, user_id, expires_ts)
                txn.on_commit(lambda user_id=user_id: self._tokens.forget_user(user_id))  # type: ignore[misc]

        await self._db.write(give)

    async def _renew(self, txn: Transaction, user_id: str, expires_ts: int | None, *, sends_mails: bool) -> int:
        end = self._clock.now_ms() + self._period_ms() if expires_ts is None else expires_ts
        await self._store.set_validity(txn, user_id, end, sends_mails=sends_mails)
        txn.on_commit(lambda: self._tokens.forget_user(user_id))
        return end

    def _period_ms(self) -> int:
        return (self._settings.period_days or 0) * _DAY_MS

    async def _mail(self, validity: Validity, addresses: list[str]) -> None:
        token = new_token("hdv")
        token_hash = hash_of(token) if addresses else None
        now = self._clock.now_ms()
        await self._db.write(lambda txn: self._store.set_mailed(txn, validity.user_id, now, token_hash))
        link = f"{self._settings.base_url}{RENEW_PATH}?token={quote(token)}"
        date = datetime.fromtimestamp(validity.expires_ts / 1000, UTC).strftime("%Y-%m-%d")
        message = messages.RENEW_ACCOUNT.write(
            self._settings.language, self._server_name, link=link, user=validity.user_id, date=date
        )
        for address in addresses:
            try:
                await self._mailer.send(address, message.subject, message.text, message.html)
            except MailFailed as error:
                _log.warning("%s was not told that the account ends: %s", validity.user_id, error)
