"""Where two devices of a person meet while one logs the other in by a QR code: a mailbox for one message at a time.

MSC4108 in its version of 2024, which Element X and matrix-js-sdk speak. What is in it is encrypted by the devices and
never looked at here. Mailboxes live a minute, in memory alone: after a restart the person scans again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
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

    @property
    def etag(self) -> str:
        """Another one for every write, also of the same content."""
        digest = hashlib.sha256(f"{self.id} {self.version} ".encode() + self.content).hexdigest()
        return f'"{digest[:32]}"'


class Rendezvous:
    """Every mailbox of the server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mailboxes: OrderedDict[str, Mailbox] = OrderedDict()

    def open(self, content: bytes) -> Mailbox:
        """Raises TooLarge, and LimitExceeded when too many people meet."""
        _check(content)
        self._remove_expired()
        now = self._clock.now_ms()
        if len(self._mailboxes) >= MAX_MAILBOXES:
            first = next(iter(self._mailboxes.values()))
            raise LimitExceeded(
                "Too many devices meet here; please wait a moment.", retry_after_ms=first.expires_ts - now
            )
        mailbox = Mailbox(secrets.token_urlsafe(24), content, now, now + LIFETIME_MS)
        self._mailboxes[mailbox.id] = mailbox
        return mailbox

    def get(self, mailbox_id: str) -> Mailbox:
        """Raises NotFound."""
        self._remove_expired()
        mailbox = self._mailboxes.get(mailbox_id)
        if mailbox is None:
            raise NotFound("There is no such meeting, or it is over.")
        return mailbox

    def write(self, mailbox_id: str, content: bytes, known_etag: str) -> Mailbox:
        """Replace what is in it, if that is what the writer knows. Raises NotFound, TooLarge, Overtaken."""
        mailbox = self.get(mailbox_id)
        _check(content)
        if known_etag != mailbox.etag:
            raise Overtaken(mailbox)
        written = Mailbox(mailbox.id, content, self._clock.now_ms(), mailbox.expires_ts, mailbox.version + 1)
        self._mailboxes[mailbox.id] = written
        return written

    def close(self, mailbox_id: str) -> None:
        """Raises NotFound."""
        self.get(mailbox_id)
        del self._mailboxes[mailbox_id]

    def _remove_expired(self) -> None:
        now = self._clock.now_ms()
        while self._mailboxes and next(iter(self._mailboxes.values())).expires_ts <= now:
            self._mailboxes.popitem(last=False)


def _check(content: bytes) -> None:
    if len(content) > MAX_BYTES:
        raise TooLarge(f"A message has at most {MAX_BYTES} bytes.")
