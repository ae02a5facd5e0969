"""A double of an identity provider: it speaks OpenID Connect, and signs as a real one does."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from homeserver.oauth.services import OAuthSettings
from homeserver.outbound.client import OutboundAnswer
from homeserver.sso.settings import ProviderSettings
from homeserver.storage.database import Database
from tests.oauth.apps import BASE
from tests.support.clock import FakeClock
from tests.support.outbound import FakeOutbound, SentRequest, json_answer
from tests.support.server import Server, open_server, server_settings

ISSUER = "https://idp.example.org/realms/company"
SETTINGS = ProviderSettings(
    id="company",
    name="Company <login>",
    issuer=ISSUER,
    client_id="halfdoor",
    client_secret="s:e/c",
    brand="company",
)


@cache
def signing_key(name: str) -> ECKey:
    """A key pair of the provider, the same in all tests."""
    return ECKey.generate_key("P-256", {"kid": name, "use": "sig"})


@cache
def rsa_key(name: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig"})


@dataclass
class IdentityProvider:
    """What a test may bend: `claims` of whoever logs in, `tamper` of the ID token before it is signed."""

    settings: ProviderSettings = SETTINGS
    claims: dict[str, Any] = field(
        default_factory=lambda: {"sub": "subject-1", "preferred_username": "carol", "name": "Carol C."}
    )
    userinfo: dict[str, Any] | None = None
    key: Any = field(default_factory=lambda: signing_key("one"))
    algorithm: str = "ES256"
    tamper: Callable[[dict[str, Any]], None] = lambda claims: None
    sign: Callable[[dict[str, Any]], str] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    clock: FakeClock | None = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    key_requests: int = 0
    token_requests: int = 0

    @property
    def issuer(self) -> str:
        return self.settings.issuer

    def log_in(self, url: str, **more: str) -> str:
        """The person logs in at the address where our server sent the browser; where it is sent back to."""
        parts = urlsplit(url)
        assert parts._replace(query="").geturl() == f"{self.issuer}/auth"
        query = dict(parse_qsl(parts.query))
        assert query["response_type"] == "code"
        assert query["client_id"] == self.settings.client_id
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_hex(8)
        self.codes[code] = query
        back = urlsplit(query["redirect_uri"])
        assert f"{back.scheme}://{back.netloc}" == BASE
        carried = {"code": code, "state": query["state"], **more}
        return f"{back.path}?{'&'.join(f'{name}={value}' for name, value in carried.items())}"

    async def answer(self, request: SentRequest) -> OutboundAnswer:
        """Every request that our server makes of the provider."""
        path = request.url.removeprefix(self.issuer)
        if path == "/.well-known/openid-configuration":
            assert request.trusted
            return json_answer(
                {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/auth",
                    "token_endpoint": f"{self.issuer}/token",
                    "jwks_uri": f"{self.issuer}/keys",
                    **({"userinfo_endpoint": f"{self.issuer}/userinfo"} if self.userinfo is not None else {}),
                    **self.metadata,
                }
            )
        if path == "/keys":
            self.key_requests += 1
            return json_answer({"keys": [self.key.as_dict(private=False)]})
        if path == "/userinfo":
            assert request.headers["authorization"] == "Bearer access-token-there"
            return json_answer(self.userinfo)
        assert path == "/token", request.url
        return self._token(request)

    def _token(self, request: SentRequest) -> OutboundAnswer:
        self.token_requests += 1
        form = dict(parse_qsl((request.body or b"").decode()))
        scheme, _, encoded = request.headers["authorization"].partition(" ")
        client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
        assert (scheme, unquote(client_id)) == ("Basic", self.settings.client_id)
        assert unquote(secret) == self.settings.client_secret
        query = self.codes.pop(form["code"], None)
        if query is None or form["redirect_uri"] != query["redirect_uri"]:
            return json_answer({"error": "invalid_grant"}, 400)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == query["code_challenge"]
        return json_answer(
            {
                "access_token": "access-token-there",
                "token_type": "Bearer",
                "id_token": self.id_token(query["nonce"]),
            }
        )

    def now(self) -> int:
        assert self.clock is not None
        return self.clock.now_ms() // 1000

    def id_token(self, nonce: str) -> str:
        claims = {
            "iss": self.issuer,
            "aud": self.settings.client_id,
            "exp": self.now() + 300,
            "iat": self.now(),
            "nonce": nonce,
            **self.claims,
        }
        self.tamper(claims)
        return self.sign(claims) if self.sign is not None else self.signed(claims)

    def signed(self, claims: dict[str, Any]) -> str:
        header = {"alg": self.algorithm, "kid": self.key.kid}
        return jwt.encode(header, claims, self.key, algorithms=[self.algorithm])

    def logout_token(self, **changes: Any) -> str:
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.settings.client_id,
            "iat": self.now(),
            "jti": secrets.token_hex(8),
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            **changes,
        }
        return self.signed({name: value for name, value in claims.items() if value is not None})


def open_provider_server(
    provider: IdentityProvider,
    *others: IdentityProvider,
    db: Database | None = None,
    oauth: bool = True,
    **changes: Any,
) -> Server:
    """A server with identity providers."""
    everybody = [provider, *others]

    async def answer(request: SentRequest) -> OutboundAnswer:
        for each in everybody:
            if request.url.startswith(f"{each.issuer}/"):
                return await each.answer(request)
        raise AssertionError(f"nobody should be asked at {request.url}")

    settings = replace(
        server_settings(),
        oauth=OAuthSettings(is_enabled=oauth, base_url=BASE),
        identity_providers=tuple(each.settings for each in everybody),
        **changes,
    )
    server = open_server(db, settings, outbound=FakeOutbound(answer))
    for each in everybody:
        each.clock = server.clock
    return server
