"""Showing that an e-mail address is one's own: a link is sent there, and who follows it says so to the server.

A session binds the address, the client's secret, the session id and what it is for (row F03): with any other of the
four it is worth nothing. Its link ends it once; and it is used up by the one operation that it was for.

Whether an address has an account here is told to nobody who cannot read its e-mails (row F07), unless the operator
wants it: who asks gets a session in any case, the e-mail is sent after the answer, and its owner reads what is up.

Spec: Client-Server API, "Adding Account Administrative Contact Information", `.../email/requestToken`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NoReturn, Protocol
from urllib.parse import quote, urlsplit

from homeserver.clock import Clock
from homeserver.mail import messages
from homeserver.mail.addresses import canonical_address
from homeserver.mail.mailer import Mailer, MailFailed
from homeserver.mail.messages import Letter, Message
from homeserver.pages.languages import Language
from homeserver.protocol.errors import (
    BadJson,
    InvalidParam,
    ThreepidDenied,
    ThreepidInUse,
    ThreepidMediumNotSupported,
    ThreepidNotFound,
    Unauthorized,
    Unavailable,
)
from homeserver.protocol.identifiers import ServerName
from homeserver.storage.database import Database, Reader, Transaction
from homeserver.storage.threepids import Threepid, ThreepidStore
from homeserver.storage.validation_sessions import ValidationSession, ValidationSessionStore
from homeserver.users.interactive_auth import Operation
from homeserver.users.secret_tokens import hash_of, new_token

Purpose = Literal["register", "add", "password"]

EMAIL: Final = "email"
LINK_LIFETIME_MS: Final = 3600 * 1000
SESSION_LIFETIME_MS: Final = 24 * 3600 * 1000
CONFIRM_PATH: Final = "/_matrix/client/unstable/email/submit_token"
_OPAQUE = re.compile(r"[0-9a-zA-Z.=_-]{1,255}")
_NOT_CONFIRMED: Final = "This address was not confirmed yet; follow the link in the e-mail first."

_LETTERS: Final[Mapping[str, Letter]] = {
    "register": messages.CONFIRM_REGISTRATION,
    "add": messages.CONFIRM_ADDITION,
    "password": messages.RESET_PASSWORD,
}
_PURPOSE_OF_PATH: Final[Mapping[str, Purpose]] = {"/register": "register", "/account/password": "password"}
"""Which sessions satisfy m.login.email.identity of which operation."""

_log = logging.getLogger(__name__)


class MessageLimiter(Protocol):
    """How many messages one address gets (`http.rate_limits.MessageLimiter`)."""

    def take(self, address: str) -> None:
        """Raises LimitExceeded."""
        ...


class NoMessageLimits:
    """For tests."""

    def take(self, address: str) -> None:
        return None


@dataclass(frozen=True, slots=True)
class EmailSettings:
    """`base_url`: the server's public address, for links (never from a request's Host: row F08). `next_link_hosts`:
    hosts of clients that people may be sent on to. `patterns`: regular expressions, one of which a whole new address
    must match; none: all do. `hides_accounts`: nobody learns which addresses have accounts."""

    base_url: str = ""
    next_link_hosts: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()
    hides_accounts: bool = True

    def allows(self, address: str) -> bool:
        """Whether an account may have this address."""
        return not self.patterns or any(pattern.fullmatch(address) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class EmailToValidate:
    """What a client asks for."""

    client_secret: str
    email: str
    send_attempt: int
    next_link: str | None = None


class ValidationSessions:
    """Makes sessions, sends their links, and says which addresses were confirmed."""

    def __init__(
        self,
        db: Database,
        store: ValidationSessionStore,
        threepids: ThreepidStore,
        mailer: Mailer,
        limiter: MessageLimiter,
        clock: Clock,
        server_name: ServerName,
        settings: EmailSettings,
    ) -> None:
        self._db = db
        self._store = store
        self._threepids = threepids
        self._mailer = mailer
        self._limiter = limiter
        self._clock = clock
        self._server_name = server_name
        self._settings = settings
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def can_validate(self) -> bool:
        """Whether addresses can be confirmed at all."""
        return self._mailer.can_send

    # ---- asked for by a client

    async def request_email(self, purpose: Purpose, wanted: EmailToValidate, language: Language) -> str:
        """Send a link, unless this attempt was answered already. Returns the session id.

        Raises InvalidParam, ThreepidMediumNotSupported, ThreepidDenied, LimitExceeded; ThreepidInUse and
        ThreepidNotFound where accounts are not hidden, and there also Unavailable when no e-mail could be sent.
        """
        self.check_can_validate()
        address = canonical_address(wanted.email)
        if address is None:
            raise InvalidParam("'email' is no e-mail address.")
        if _OPAQUE.fullmatch(wanted.client_secret) is None:
            raise InvalidParam("'client_secret' has letters, digits and .=_- only, 255 at most.")
        if purpose != "password" and not self._settings.allows(address):
            raise ThreepidDenied("This server does not take that e-mail address.")
        next_link = self._checked_next_link(wanted.next_link)
        self._limiter.take(address)
        owner = await self._threepids.find_owner(EMAIL, address)
        fits = (owner is not None) == (purpose == "password")
        if not fits and not self._settings.hides_accounts:
            if purpose == "password":
                raise ThreepidNotFound("No account here has that e-mail address.")
            raise ThreepidInUse("An account here has that e-mail address already.")
        token = new_token("hdv")

        async def begin(txn: Transaction) -> tuple[ValidationSession, bool]:
            return await self._begin(txn, purpose, address, wanted, next_link, hash_of(token) if fits else None)

        session, is_new = await self._db.write(begin)
        if not is_new:
            return session.sid
        if fits:
            link = f"{self._settings.base_url}{CONFIRM_PATH}?sid={quote(session.sid)}&token={quote(token)}"
            await self._deliver(address, _LETTERS[purpose].write(language, self._server_name, link=link))
        elif purpose != "password":
            await self._deliver(address, messages.ALREADY_REGISTERED.write(language, self._server_name))
        return session.sid

    def check_can_validate(self) -> None:
        """Raises ThreepidMediumNotSupported where no e-mails are sent."""
        if not self._mailer.can_send:
            raise ThreepidMediumNotSupported("This server does not send e-mails.")

    def refuse_phone_number(self) -> NoReturn:
        """Raises ThreepidMediumNotSupported."""
        raise ThreepidMediumNotSupported("This server does not send text messages.")

    # ---- followed by whoever reads the e-mail

    async def find_by_link(self, sid: str, token: str) -> ValidationSession:
        """The session that a link would end, for the page that asks. Raises InvalidParam when it would end none."""
        session = await self._store.find_session(sid) if _OPAQUE.fullmatch(sid) else None
        now = self._clock.now_ms()
        if (
            session is None
            or session.token_hash is None
            or not secrets.compare_digest(session.token_hash, hash_of(token))
            or session.sent_ts + LINK_LIFETIME_MS <= now
        ):
            raise InvalidParam("This link was used already, or is too old.")
        return session

    async def confirm(self, sid: str, token: str) -> ValidationSession:
        """The owner of the address agrees; the link is spent. Raises InvalidParam."""
        session = await self.find_by_link(sid, token)
        now = self._clock.now_ms()
        if not await self._db.write(lambda txn: self._store.set_validated(txn, sid, hash_of(token), now)):
            raise InvalidParam("This link was used already, or is too old.")
        return session

    # ---- used by an operation

    async def get_confirmed(self, purpose: Purpose, sid: object, client_secret: object) -> ValidationSession:
        """The confirmed session of this client for this purpose. Raises Unauthorized, BadJson."""
        if not isinstance(sid, str) or not isinstance(client_secret, str):
            raise BadJson("'sid' and 'client_secret' must be strings.")
        session = await self._store.find_session(sid) if _OPAQUE.fullmatch(sid) else None
        if (
            session is None
            or session.purpose != purpose
            or not secrets.compare_digest(session.secret_hash, hash_of(client_secret))
            or not self._is_confirmed(session)
        ):
            raise Unauthorized(_NOT_CONFIRMED)
        return session

    async def find_confirmed(self, purpose: Purpose, sid: str, reader: Reader | None = None) -> ValidationSession:
        """A confirmed session whose client has shown its secret already. Raises Unauthorized."""
        session = await self._store.find_session(sid, reader)
        if session is None or session.purpose != purpose or not self._is_confirmed(session):
            raise Unauthorized(_NOT_CONFIRMED)
        return session

    async def use_up(self, txn: Transaction, purpose: Purpose, sid: str) -> ValidationSession:
        """Take a confirmed session away, in the transaction of the operation that it was for. Raises Unauthorized."""
        session = await self.find_confirmed(purpose, sid, txn)
        await self._store.remove_session(txn, sid)
        if purpose == "password":  # whoever else began one for this address must begin again
            await self._store.remove_sessions_of_address(txn, purpose, session.medium, session.address)
        return session

    async def give_address(self, txn: Transaction, purpose: Purpose, sid: str, user_id: str) -> Threepid:
        """The session's address becomes the user's. Raises Unauthorized, ThreepidDenied, ThreepidInUse."""
        session = await self.use_up(txn, purpose, sid)
        if not self._settings.allows(session.address):
            raise ThreepidDenied("This server does not take that e-mail address.")
        threepid = Threepid(
            session.medium, session.address, user_id, session.validated_ts or session.sent_ts, self._clock.now_ms()
        )
        if not await self._threepids.add_threepid(txn, threepid):
            raise ThreepidInUse("An account here has that e-mail address already.")
        return threepid

    async def check_email_stage(self, operation: Operation, auth: Mapping[str, Any]) -> str:
        """m.login.email.identity: proves the session id of a confirmed session for this operation. An identity server
        that the client names is not asked: sessions are this server's own."""
        credentials = auth.get("threepid_creds", auth.get("threepidCreds"))
        if not isinstance(credentials, dict):
            raise BadJson("'auth.threepid_creds' must be an object.")
        purpose = next((each for path, each in _PURPOSE_OF_PATH.items() if operation.path.endswith(path)), None)
        if purpose is None:
            raise Unauthorized(_NOT_CONFIRMED)
        session = await self.get_confirmed(purpose, credentials.get("sid"), credentials.get("client_secret"))
        return session.sid

    async def notify(self, address: str, message: Message) -> None:
        """Send an e-mail that nobody waits for; a failure is logged."""
        task = asyncio.create_task(self._send_quietly(address, message))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def settle(self, timeout: float | None = None) -> None:
        """Return when every e-mail that was begun is sent or has failed, or `timeout` (seconds) has passed; what is
        not sent then is given up."""
        waiting = list(self._sending)
        if not waiting:
            return
        _, late = await asyncio.wait(waiting, timeout=timeout)
        for task in late:
            task.cancel()
        if late:
            _log.warning("%d e-mails were not sent before the end", len(late))
            await asyncio.wait(late)

    # ---- how

    async def _begin(
        self,
        txn: Transaction,
        purpose: Purpose,
        address: str,
        wanted: EmailToValidate,
        next_link: str | None,
        token_hash: str | None,
    ) -> tuple[ValidationSession, bool]:
        """ "The server will only send an email if the send_attempt is a number greater than the most recent one which
        it has seen, scoped to that email + client_secret pair"."""
        now = self._clock.now_ms()
        await self._store.remove_sessions_before(txn, now - SESSION_LIFETIME_MS)
        secret_hash = hash_of(wanted.client_secret)
        known = await self._store.find_wanted(txn, purpose, EMAIL, address, secret_hash)
        if known is not None and (wanted.send_attempt <= known.send_attempt or self._is_confirmed(known)):
            return known, False
        fresh = ValidationSession(
            sid=secrets.token_urlsafe(24),
            purpose=purpose,
            medium=EMAIL,
            address=address,
            secret_hash=secret_hash,
            send_attempt=wanted.send_attempt,
            token_hash=token_hash,
            next_link=next_link,
            sent_ts=now,
        )
        session = fresh if known is None else replace(fresh, sid=known.sid)
        await self._store.set_session(txn, session)
        return session, True

    def _is_confirmed(self, session: ValidationSession) -> bool:
        confirmed = session.validated_ts
        return confirmed is not None and self._clock.now_ms() < confirmed + SESSION_LIFETIME_MS

    def _checked_next_link(self, next_link: str | None) -> str | None:
        """Where to send people on; None also for hosts that the operator has not named: people then read that they may
        go back to their app, so that this server redirects nobody to where a stranger wants them (row F08)."""
        if next_link is None:
            return None
        try:
            parts = urlsplit(next_link)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise InvalidParam("'next_link' is no web address.") from None
        if parts.scheme not in ("http", "https") or not host or not next_link.isascii() or not next_link.isprintable():
            raise InvalidParam("'next_link' must be a web address.")
        is_plain = len(next_link) <= 2000 and "\\" not in next_link and "@" not in parts.netloc
        return next_link if is_plain and host in self._settings.next_link_hosts else None

    async def _deliver(self, address: str, message: Message) -> None:
        if self._settings.hides_accounts:
            await self.notify(address, message)
            return
        try:
            await self._mailer.send(address, message.subject, message.text, message.html)
        except MailFailed as error:
            _log.warning("An e-mail was not sent: %s", error)
            raise Unavailable("The e-mail could not be sent; please try again later.") from None

    async def _send_quietly(self, address: str, message: Message) -> None:
        try:
            await self._mailer.send(address, message.subject, message.text, message.html)
        except MailFailed as error:
            _log.warning("An e-mail was not sent: %s", error)
