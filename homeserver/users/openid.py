"""OpenID tokens, by which a user shows another service who they are. Spec: Client-Server API, "OpenID"."""

from __future__ import annotations

from homeserver.clock import Clock
from homeserver.protocol.errors import Forbidden
from homeserver.storage.database import Database
from homeserver.storage.openid_tokens import OpenIdTokenStore
from homeserver.users.requester import Requester
from homeserver.users.secret_tokens import hash_of, new_token

LIFETIME_SECONDS = 3600


class OpenId:
    """Tokens that are good for asking `/_matrix/federation/v1/openid/userinfo` and for nothing else."""

    def __init__(self, db: Database, store: OpenIdTokenStore, clock: Clock) -> None:
        self._db = db
        self._store = store
        self._clock = clock

    async def create_token(self, requester: Requester, user_id: str) -> str:
        """Raises Forbidden for somebody else."""
        if user_id != requester.user_id:
            raise Forbidden("An OpenID token can be asked for oneself only.")
        token, now = new_token("hdo"), self._clock.now_ms()
        expires = now + LIFETIME_SECONDS * 1000
        await self._db.write(lambda txn: self._store.add_token(txn, hash_of(token), user_id, expires, now))
        return token

    async def find_user(self, token: str) -> str | None:
        """Whose token it is, for `/openid/userinfo`; None if it is unknown or has expired."""
        return await self._store.find_user(hash_of(token), self._clock.now_ms())
