"""Where two devices of a person meet while one logs the other in by a QR code: a mailbox for one message at a time.

MSC4108 in its version of 2024, which Element X and matrix-js-sdk speak, and its heir MSC4388. What is in a mailbox is
encrypted by the devices and never looked at here. Mailboxes live a minute or two, in memory alone: after a restart the
person scans again.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from homeserver.clock import Clock
from homeserver.protocol.errors import LimitExceeded, NotFound, TooLarge

MAX_BYTES: Final = 4096
LIFETIME_MS: Final = 60_000
MAX_MAILBOXES: Final = 1000


class Overtaken(Exception):
    """Somebody else wrote since the sender read; `mailbox` is as it is now."""

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__("The mailbox was written meanwhile.")
        self.mailbox = mailbox


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One meeting. Times in milliseconds."""

    id: str
    content: bytes
    written_ts: int
    expires_ts: int
    version: int = 0
    earlier: str = ""

    @property
    def token(self) -> str:
        """What a writer must know: another one for every write, also of the same content. `earlier`: the last one."""
        return hashlib.sha256(f"{self.id} {self.version} ".encode() + self.content).hexdigest()[:32]

    @property
    def etag(self) -> str:
        return f'"{self.token}"'


class Rendezvous:
    """Every mailbox of the server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mailboxes: dict[str, Mailbox] = {}

    def open(self, content: bytes, lifetime_ms: int = LIFETIME_MS) -> Mailbox:
        """Raises TooLarge, and LimitExceeded when too many people meet."""
        _check(content)
        self._remove_expired()
        now = self._clock.now_ms()
        if len(self._mailboxes) >= MAX_MAILBOXES:
            first = min(each.expires_ts for each in self._mailboxes.values())
            raise LimitExceeded("Too many devices meet here; please wait a moment.", retry_after_ms=first - now)
        mailbox = Mailbox(secrets.token_urlsafe(24), content, now, now + lifetime_ms)
        self._mailboxes[mailbox.id] = mailbox
        return mailbox

    def get(self, mailbox_id: str) -> Mailbox:
        """Raises NotFound."""
        self._remove_expired()
        mailbox = self._mailboxes.get(mailbox_id)
        if mailbox is None:
            raise NotFound("There is no such meeting, or it is over.")
        return mailbox

    def remaining_ms(self, mailbox: Mailbox) -> int:
        """How long it lives on."""
        return max(0, mailbox.expires_ts - self._clock.now_ms())

    def write(self, mailbox_id: str, content: bytes, known_token: str, *, may_repeat: bool = False) -> Mailbox:
        """Replace what is in it, if that is what the writer knows. `may_repeat`: a write whose answer was lost may come
        again. Raises NotFound, TooLarge, Overtaken."""
        mailbox = self.get(mailbox_id)
        _check(content)
        if known_token != mailbox.token:
            if may_repeat and mailbox.version and known_token == mailbox.earlier and content == mailbox.content:
                return mailbox
            raise Overtaken(mailbox)
        now, version = self._clock.now_ms(), mailbox.version + 1
        written = Mailbox(mailbox.id, content, now, mailbox.expires_ts, version, mailbox.token)
        self._mailboxes[mailbox.id] = written
        return written

    def close(self, mailbox_id: str) -> None:
        """Raises NotFound."""
        self.get(mailbox_id)
        del self._mailboxes[mailbox_id]

    def _remove_expired(self) -> None:
        now = self._clock.now_ms()
        for mailbox in [each for each in self._mailboxes.values() if each.expires_ts <= now]:
            del self._mailboxes[mailbox.id]


def _check(content: bytes) -> None:
    if len(content) > MAX_BYTES:
        raise TooLarge(f"A message has at most {MAX_BYTES} bytes.")
