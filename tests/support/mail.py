"""A mail server that only remembers: what tests read instead of a mailbox."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from homeserver.mail.mailer import MailFailed

_LINK = re.compile(r"https?://\S+")


@dataclass(frozen=True)
class SentMail:
    """One e-mail as it was given to the mailer."""

    to: str
    subject: str
    text: str
    html: str | None = None

    @property
    def links(self) -> list[str]:
        """The addresses in its text, in order."""
        return _LINK.findall(self.text)


@dataclass
class Outbox:
    """A `Mailer` that keeps what it is given. `failing`: it refuses everything, as a mail server that is away."""

    sent: list[SentMail] = field(default_factory=list)
    failing: bool = False
    can_send: bool = True

    async def send(self, to: str, subject: str, text: str, html: str | None = None) -> None:
        if self.failing:
            raise MailFailed("The mail server is away.")
        self.sent.append(SentMail(to, subject, text, html))

    def take(self) -> SentMail:
        """The only e-mail that was sent since the last call."""
        assert len(self.sent) == 1, f"{len(self.sent)} e-mails were sent"
        return self.sent.pop()
