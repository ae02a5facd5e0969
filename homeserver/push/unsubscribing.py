"""Links that end e-mail notifications: whoever has one ends those of that one pusher, and can do nothing else.

A link holds which pusher it is of and a code that only this server can make. It does not expire: an old e-mail's link
still ends the e-mails. Programs that look at links in e-mails end nothing, since it takes a click on the page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import msgspec

from homeserver.storage.push_queue import PusherKey
from homeserver.users.pushers import Pushers

PATH = "/_halfdoor/push/unsubscribe"


class UnsubscribeLinks:
    """Makes and takes them. `secret` is the server's own."""

    def __init__(self, secret: bytes, base_url: str, pushers: Pushers) -> None:
        self._key = hashlib.blake2b(secret, digest_size=32, person=b"halfdoor unsub").digest()
        self._base_url = base_url.rstrip("/")
        self._pushers = pushers

    def link(self, key: PusherKey) -> str:
        """The address for an e-mail."""
        return f"{self._base_url}{PATH}?token={self.token(key)}"

    def token(self, key: PusherKey) -> str:
        """The pusher and the code, in letters that a URL can hold."""
        told = msgspec.json.encode(list(key))
        return _encode(self._code(told) + told)

    def read(self, token: str) -> PusherKey | None:
        """The pusher of a token that this server made; None for any other."""
        try:
            raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        except (binascii.Error, ValueError):
            return None
        code, told = raw[:16], raw[16:]
        if not hmac.compare_digest(code, self._code(told)):
            return None
        return PusherKey(*msgspec.json.decode(told))

    async def end(self, token: str) -> bool:
        """No more e-mails; False for a token that this server did not make."""
        key = self.read(token)
        if key is None:
            return False
        await self._pushers.remove_rejected(*key)
        return True

    def _code(self, told: bytes) -> bytes:
        return hmac.digest(self._key, told, "sha256")[:16]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
