"""The endpoints that clients call themselves: tokens for a grant, a device code, and the end of a session.

The tokens are the server's ordinary access and refresh tokens of a device (`users/access_tokens.py`), so that expiry,
logging out, soft logout, locking and removing devices work as for everybody. Spec: Client-Server API, "Grant types",
"Token refresh flow", "Token revocation"; RFC 8628.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from homeserver.clock import Clock
from homeserver.oauth.authorization import USED_KEPT_MS
from homeserver.oauth.client_metadata import localized
from homeserver.oauth.clients import OAuthClients
from homeserver.oauth.facts import Answer, Facts, refused
from homeserver.oauth.scopes import Scope
from homeserver.protocol.errors import Forbidden, UnknownToken, UserDeactivated, UserLocked
from homeserver.storage.access_tokens import AccessTokenStore
from homeserver.storage.database import Database, Transaction
from homeserver.storage.oauth_clients import OAuthClient
from homeserver.storage.oauth_grants import AuthorizationCode, DeviceCode, OAuthGrantStore, OAuthSession
from homeserver.users.access_tokens import AccessTokens, IssuedTokens
from homeserver.users.devices import Devices
from homeserver.users.login import Login, Logins, LoginWish
from homeserver.users.secret_tokens import hash_of

if TYPE_CHECKING:
    from homeserver.oauth.engine import Engine

SessionOpened = Callable[[Transaction, str, str, str], Awaitable[None]]
"""(txn, browser session's hash, user id, device id) when a device got its session by a browser's consent."""


class TokenEndpoint:
    """Answers in OAuth's own form; raises nothing but for a database that is away."""

    def __init__(
        self,
        db: Database,
        store: OAuthGrantStore,
        clients: OAuthClients,
        token_store: AccessTokenStore,
        tokens: AccessTokens,
        logins: Logins,
        devices: Devices,
        clock: Clock,
        verification_uri: str,
    ) -> None:
        self._db = db
        self._store = store
        self._clients = clients
        self._token_store = token_store
        self._tokens = tokens
        self._logins = logins
        self._devices = devices
        self._clock = clock
        self._verification_uri = verification_uri
        self.session_opened: list[SessionOpened] = []

    async def create_tokens(self, form: Mapping[str, str]) -> Answer:
        """`POST token_endpoint`, of every grant type."""
        client = await self._clients.find_client(form.get("client_id", ""))
        code = await self._store.find_code(hash_of(form["code"])) if "code" in form else None
        device = await self._store.find_device_code(hash_of(form["device_code"])) if "device_code" in form else None
        session = await self._session_of(form["refresh_token"]) if "refresh_token" in form else None
        facts = Facts(self._clock.now_ms(), client=client, code=code, session=session, device_code=device)
        engine = _engine(facts)
        answer = engine.token(form)
        if answer.status != 200:
            await self._after_refusal(engine, code)
            return answer
        assert client is not None
        if "refreshed" in engine.granted:
            return await self._refresh(form["refresh_token"], engine.granted["refreshed"])
        granted: AuthorizationCode | DeviceCode = engine.granted.get("exchanged") or engine.granted["device"]
        return await self._open_session(client, granted)

    async def authorize_device(self, form: Mapping[str, str]) -> Answer:
        """`POST device_authorization_endpoint`."""
        client = await self._clients.find_client(form.get("client_id", ""))
        for _ in range(5):
            now = self._clock.now_ms()
            engine = _engine(Facts(now, client=client, verification_uri=self._verification_uri))
            answer = engine.endpoint("device_authorization", form)
            if answer.status != 200:
                return answer
            assert client is not None
            scope: Scope = engine.granted["scope"]
            body = answer.body
            code = DeviceCode(
                code_hash=hash_of(body["device_code"]),
                user_code_hash=hash_of(body["user_code"]),
                client_id=client.client_id,
                device_id=scope.device_id,
                scope=scope.text,
                expires_ts=now + body["expires_in"] * 1000,
                polled_ts=0,
                interval_ms=body["interval"] * 1000,
            )
            if await self._db.write(partial(self._add_device_code, code, now)):
                return answer
        return refused("temporarily_unavailable", "Please try again", 503)

    async def revoke(self, form: Mapping[str, str]) -> Answer:
        """`POST revocation_endpoint`: the token's device is logged out, with all that belongs to it."""
        answer = _engine(Facts(self._clock.now_ms())).endpoint("revocation", form)
        if answer.status != 200:
            return answer
        digest = hash_of(form["token"])
        token = await self._token_store.find_token(digest) or await self._token_store.find_refresh_token(digest)
        if token is not None:
            await self._devices.delete_devices(token.user_id, [token.device_id])
        return answer

    async def _add_device_code(self, code: DeviceCode, now: int, txn: Transaction) -> bool:
        await self._store.remove_old_codes(txn, now, now - USED_KEPT_MS)
        return await self._store.add_device_code(txn, code)

    async def _session_of(self, refresh_token: str) -> OAuthSession | None:
        token = await self._token_store.find_refresh_token(hash_of(refresh_token))
        return None if token is None else await self._store.find_session(token.user_id, token.device_id)

    async def _after_refusal(self, engine: Engine, code: AuthorizationCode | None) -> None:
        if "polled" in engine.granted:
            polled, too_soon = engine.granted["polled"]
            # RFC 8628, 3.5: "the interval MUST be increased by 5 seconds for this and all subsequent requests".
            interval = polled.interval_ms + (5000 if too_soon else 0)
            now = self._clock.now_ms()
            await self._db.write(lambda txn: self._store.set_polled(txn, polled.code_hash, now, interval))
        if code is not None and code.is_used:
            await self._db.write(lambda txn: self._close_session_of(txn, code))

    async def _close_session_of(self, txn: Transaction, code: AuthorizationCode) -> None:
        """RFC 6749, 4.1.2: "If an authorization code is used more than once, the authorization server MUST deny the
        request and SHOULD revoke (when possible) all tokens previously issued based on that authorization code"."""
        session = await self._store.find_session(code.user_id, code.device_id, txn)
        if session is not None and session.code_hash == code.code_hash:
            await self._tokens.revoke_device(txn, code.user_id, code.device_id)

    async def _refresh(self, refresh_token: str, session: OAuthSession) -> Answer:
        try:
            tokens = await self._tokens.refresh(refresh_token)
        except UnknownToken as error:
            return refused("invalid_grant", error.message)
        return _answer(tokens, session.scope)

    async def _open_session(self, client: OAuthClient, granted: AuthorizationCode | DeviceCode) -> Answer:
        user_id = granted.user_id
        assert user_id is not None
        wish = LoginWish(granted.device_id, localized(client.metadata, "client_name", "en"), refreshable=True)
        now = self._clock.now_ms()

        async def open_session(txn: Transaction) -> Login | None:
            if isinstance(granted, AuthorizationCode):
                is_first = await self._store.use_code(txn, granted.code_hash)
            else:
                is_first = await self._store.use_device_code(txn, granted.code_hash)
            if not is_first:
                if isinstance(granted, AuthorizationCode):
                    await self._close_session_of(txn, granted)
                return None
            await self._logins.check_may_log_in(txn, user_id)
            login = await self._logins.open_session(txn, user_id, wish)
            code_hash = granted.code_hash if isinstance(granted, AuthorizationCode) else None
            session = OAuthSession(user_id, granted.device_id, client.client_id, granted.scope, code_hash, now)
            await self._store.set_session(txn, session)
            for opened in self.session_opened:
                await opened(txn, granted.browser_hash or "", user_id, granted.device_id)
            return login

        try:
            login = await self._db.write(open_session)
        except (Forbidden, UserDeactivated, UserLocked) as error:
            return refused("invalid_grant", error.message)
        if login is None or login.tokens is None:
            return refused("invalid_grant", "This code was used already")
        return _answer(login.tokens, granted.scope)


def _answer(tokens: IssuedTokens, scope: str) -> Answer:
    body = {"access_token": tokens.access_token, "token_type": "Bearer", "scope": scope}
    if tokens.refresh_token is not None:
        body["refresh_token"] = tokens.refresh_token
    answer = Answer(200, body)
    if tokens.expires_in_ms is not None:
        answer.body["expires_in"] = tokens.expires_in_ms // 1000
    return answer


def _engine(facts: Facts) -> Engine:
    from homeserver.oauth.engine import Engine

    return Engine(facts)
