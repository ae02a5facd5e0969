"""The browser's side of the device grant: a person types a code, sees who asks, and says yes or no.

Spec: Client-Server API, "Device authorisation flow"; RFC 8628, sections 3.3 and 5.1 (guessing codes) and 5.4 (remote
phishing: the page says what is asked before anybody says yes).
"""

from __future__ import annotations

import re

from homeserver.clock import Clock
from homeserver.oauth.clients import OAuthClients
from homeserver.protocol.errors import NotFound
from homeserver.storage.browser_sessions import BrowserSession
from homeserver.storage.database import Database
from homeserver.storage.oauth_clients import OAuthClient
from homeserver.storage.oauth_grants import DeviceCode, OAuthGrantStore
from homeserver.users.passwords import GuessLimiter
from homeserver.users.secret_tokens import hash_of

_LETTERS = re.compile(r"[BCDFGHJKLMNPQRSTVWXZ]{8}")


class DeviceCodes:
    """Finds what a user code stands for, and writes down what the person decided."""

    def __init__(
        self, db: Database, store: OAuthGrantStore, clients: OAuthClients, guesses: GuessLimiter, clock: Clock
    ) -> None:
        self._db = db
        self._store = store
        self._clients = clients
        self._guesses = guesses
        self._clock = clock

    async def find(self, typed: str, session: BrowserSession, client_address: str) -> tuple[DeviceCode, OAuthClient]:
        """What waits for the code that somebody typed, in whatever case and with whatever between the letters.
        Raises NotFound, and LimitExceeded after too many codes that are none."""
        letters = re.sub(r"[^A-Za-z]", "", typed[:64]).upper()
        # Guesses at codes are counted apart from guesses at the person's password.
        with self._guesses.attempt(f"device code of {session.user_id}", client_address) as attempt:
            code = None
            if _LETTERS.fullmatch(letters):
                code = await self._store.find_device_code_by_user_code(hash_of(f"{letters[:4]}-{letters[4:]}"))
            client = None if code is None else await self._clients.find_client(code.client_id)
            if code is None or client is None or code.state != "pending" or code.expires_ts <= self._clock.now_ms():
                raise NotFound("This code is unknown or too old.")
            attempt.succeeded()
        return code, client

    async def decide(self, code: DeviceCode, session: BrowserSession, *, allowed: bool) -> None:
        """Raises NotFound when it was decided meanwhile."""
        state = "approved" if allowed else "denied"
        decided = await self._db.write(
            lambda txn: self._store.decide_device_code(
                txn, code.code_hash, state, session.user_id, session.session_hash
            )
        )
        if not decided:
            raise NotFound("This code is unknown or too old.")
