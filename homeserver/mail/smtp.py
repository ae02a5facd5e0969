"""Sending e-mail through an SMTP server of the operator's own choice.

Addresses and subjects come from people. They reach the message only through `email.message`, which refuses line breaks
in headers, and the envelope only after `is_address` (row F08): one mailbox, never a list, never a further header.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid, parseaddr
from pathlib import Path
from typing import Literal

from homeserver.clock import Clock
from homeserver.mail.addresses import domain_of_address, is_address
from homeserver.mail.mailer import MailFailed

Security = Literal["starttls", "tls", "none"]


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """`sender`: an address, maybe with a name (`Example <noreply@example.org>`). `security`: "starttls" and "tls"
    check the server's certificate, against `ca_file` where it is given. `timeout` in seconds, for each step."""

    host: str
    sender: str
    port: int = 587
    security: Security = "starttls"
    username: str | None = None
    password: str | None = None
    ca_file: Path | None = None
    timeout: float = 30.0


class SmtpMailer:
    """Gives each e-mail to one SMTP server, on a connection of its own."""

    can_send = True

    def __init__(self, settings: SmtpSettings, clock: Clock) -> None:
        """Raises ValueError when `sender` is no address."""
        name, address = parseaddr(settings.sender)
        if not is_address(address):
            raise ValueError(f"{settings.sender!r} is no address to send e-mails from.")
        self._settings = settings
        self._sender = Address(display_name=name, addr_spec=address)
        self._clock = clock
        self._tls: ssl.SSLContext | None = None

    async def send(self, to: str, subject: str, text: str, html: str | None = None) -> None:
        message = self._message(to, subject, text, html)
        import aiosmtplib  # costs memory that servers without e-mail keep

        settings = self._settings
        try:
            await aiosmtplib.send(
                message,
                sender=self._sender.addr_spec,
                recipients=[to],
                hostname=settings.host,
                port=settings.port,
                username=settings.username,
                password=settings.password,
                use_tls=settings.security == "tls",
                start_tls=settings.security == "starttls",
                tls_context=self._tls_context(),
                timeout=settings.timeout,
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise MailFailed(f"{settings.host} did not take an e-mail: {_reason(error)}") from error

    def _message(self, to: str, subject: str, text: str, html: str | None) -> EmailMessage:
        if not is_address(to):
            raise MailFailed("The recipient is no e-mail address.")
        message = EmailMessage(policy=SMTP.clone(cte_type="7bit") if to.isascii() else SMTP)
        try:
            message["From"] = self._sender
            message["To"] = Address(addr_spec=to) if to.isascii() else to
            message["Subject"] = " ".join(subject.split())
        except (ValueError, MessageError) as error:
            raise MailFailed(f"The e-mail's headers are wrong: {type(error).__name__}") from error
        message["Date"] = format_datetime(datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC))
        message["Message-ID"] = make_msgid(domain=domain_of_address(self._sender.addr_spec))
        # Holiday notices answer no e-mail that is marked so (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        if html is not None:
            message.add_alternative(html, subtype="html")
        return message

    def _tls_context(self) -> ssl.SSLContext | None:
        if self._settings.security == "none":
            return None
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._settings.ca_file)
        return self._tls


def _reason(error: Exception) -> str:
    """Without what the server said of addresses: the log is no place for them."""
    code = getattr(error, "code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__} {code}"
