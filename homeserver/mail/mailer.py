"""What the other parts ask of e-mail; `smtp.py` sends it, and is loaded only where a mail server is configured."""

from __future__ import annotations

from typing import Protocol


class MailFailed(Exception):
    """An e-mail was not taken by the mail server. The text is for the log; it holds no secret."""


class Mailer(Protocol):
    """Sends e-mails."""

    @property
    def can_send(self) -> bool:
        """False where the operator has named no mail server: nothing that needs e-mail is offered then."""
        ...

    async def send(self, to: str, subject: str, text: str, html: str | None = None) -> None:
        """Send to one address; returns when the mail server has taken it. Raises MailFailed."""
        ...


class NoMailer:
    """A server without a mail server."""

    can_send = False

    async def send(self, to: str, subject: str, text: str, html: str | None = None) -> None:
        raise MailFailed("No mail server is configured (mail.smtp_host).")
