"""The authorization endpoint: what a client asks of a person, and the code by which it learns of a yes.

Spec: Client-Server API, "Authorisation code grant"; RFC 6749 section 4.1, RFC 7636, RFC 9700. Codes are used once, live
a minute, and belong to one client, redirect URI, person and PKCE challenge (row F12).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from homeserver.clock import Clock
from homeserver.oauth.clients import OAuthClients
from homeserver.oauth.facts import Facts
from homeserver.oauth.scopes import Scope, parse_scope
from homeserver.storage.browser_sessions import BrowserSession
from homeserver.storage.database import Database, Transaction
from homeserver.storage.oauth_clients import OAuthClient
from homeserver.storage.oauth_grants import AuthorizationCode, OAuthGrantStore
from homeserver.users.secret_tokens import hash_of

if TYPE_CHECKING:
    from homeserver.oauth.engine import Engine

CODE_LIFETIME_MS = 60_000
USED_KEPT_MS = 24 * 3600 * 1000
"""A code that was used is known that long: who brings it again has stolen it, and the session it made is closed."""


class AuthorizationRefused(Exception):
    """The request cannot be granted. `location`: where the browser tells the client; None: only the person is told,
    because the client or its redirect URI is not to be trusted."""

    def __init__(self, error: str, description: str, location: str | None) -> None:
        super().__init__(description)
        self.error = error
        self.location = location


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that may be granted."""

    query: Mapping[str, str] = field(repr=False)
    client: OAuthClient
    redirect_uri: str
    scope: Scope
    wants_account: bool
    engine: Engine = field(repr=False)
    grant: Any = field(repr=False)


class Authorization:
    """Judges requests and makes codes."""

    def __init__(self, db: Database, store: OAuthGrantStore, clients: OAuthClients, clock: Clock) -> None:
        self._db = db
        self._store = store
        self._clients = clients
        self._clock = clock

    async def judge(self, query: Mapping[str, str]) -> AuthorizationRequest:
        """The request that a browser carries. Raises AuthorizationRefused."""
        from authlib.oauth2 import OAuth2Error

        from homeserver.oauth.engine import Engine, error_location

        client = await self._clients.find_client(query.get("client_id", ""))
        engine = Engine(Facts(self._clock.now_ms(), client=client))
        try:
            grant = engine.judge_authorization(query)
        except OAuth2Error as error:
            location = error_location(error, query)
            raise AuthorizationRefused(str(error.error), str(error.description or ""), location) from None
        assert client is not None
        scope = parse_scope(query.get("scope"))
        return AuthorizationRequest(
            query, client, grant.redirect_uri, scope, query.get("prompt") == "create", engine, grant
        )

    async def allow(self, request: AuthorizationRequest, session: BrowserSession) -> str:
        """The person said yes: where the browser goes, with the code."""
        location = request.engine.authorize(request.grant, session.user_id)
        now = self._clock.now_ms()
        code = AuthorizationCode(
            code_hash=hash_of(request.engine.granted["code"]),
            client_id=request.client.client_id,
            user_id=session.user_id,
            device_id=request.scope.device_id,
            scope=request.scope.text,
            redirect_uri=request.redirect_uri,
            code_challenge=request.query["code_challenge"],
            browser_hash=session.session_hash,
            expires_ts=now + CODE_LIFETIME_MS,
        )

        async def add(txn: Transaction) -> None:
            await self._store.remove_old_codes(txn, now, now - USED_KEPT_MS)
            await self._store.add_code(txn, code)

        await self._db.write(add)
        return location

    def deny(self, request: AuthorizationRequest) -> str:
        """The person said no: where the browser goes."""
        from homeserver.oauth.engine import denial_location

        return denial_location(request.redirect_uri, request.query)
