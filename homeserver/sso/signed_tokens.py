"""ID tokens and logout tokens: whose signature, for whom, how old.

Spec: OpenID Connect Core 1.0, section 3.1.3.7; Back-Channel Logout 1.0, section 2.6. The keys are fetched again when a
token names one that is not known, but not more often than once a minute. joserfc does the cryptography; it is imported
with the first token.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from homeserver.clock import Clock
from homeserver.sso.settings import ProviderSettings

FetchKeys = Callable[[], Awaitable[list[Mapping[str, Any]]]]
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_LEEWAY_SECONDS: Final = 60
_LOGOUT_AGE_SECONDS: Final = 300
_REFETCH_SECONDS: Final = 60.0
_MAX_LENGTH: Final = 64 * 1024


class WrongToken(Exception):
    """The token is not to be believed; the text says why."""


class SignedTokens:
    """Reads the tokens of one provider."""

    def __init__(self, settings: ProviderSettings, clock: Clock, fetch_keys: FetchKeys) -> None:
        self._settings = settings
        self._clock = clock
        self._fetch_keys = fetch_keys
        self._keys: list[Mapping[str, Any]] | None = None
        self._fetched_at = 0.0

    async def read_id_token(self, token: str, nonce: str) -> Mapping[str, Any]:
        """The claims of an ID token that answers the login with `nonce`. Raises WrongToken."""
        claims = await self._read(token)
        self._check_audience(claims)
        now = self._clock.now_ms() // 1000
        if _number(claims, "exp") + _LEEWAY_SECONDS <= now:
            raise WrongToken("it has expired")
        if _number(claims, "iat") - _LEEWAY_SECONDS > now:
            raise WrongToken("it is from the future")
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise WrongToken("it answers another login")
        _text(claims, "sub")
        return claims

    async def read_logout_token(self, token: str) -> Mapping[str, Any]:
        """The claims of a logout token: `sub` or `sid`, and `jti`. Raises WrongToken."""
        claims = await self._read(token)
        self._check_audience(claims)
        now = self._clock.now_ms() // 1000
        issued = _number(claims, "iat")
        if abs(now - issued) > _LOGOUT_AGE_SECONDS or ("exp" in claims and _number(claims, "exp") <= now):
            raise WrongToken("it is too old")
        events = claims.get("events")
        if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
            raise WrongToken("it is no logout token")
        if "nonce" in claims:
            raise WrongToken("it is an ID token")
        _text(claims, "jti")
        if "sub" not in claims and "sid" not in claims:
            raise WrongToken("it names nobody")
        for name in ("sub", "sid"):
            if name in claims:
                _text(claims, name)
        return claims

    async def _read(self, token: str) -> Mapping[str, Any]:
        """The claims, once one of the provider's keys has signed them."""
        header = _header_of(token)
        algorithm = header.get("alg")
        if algorithm not in self._settings.algorithms:
            raise WrongToken(f"it is signed by {str(algorithm)[:20]!r}")
        key_id = header.get("kid")
        for keys in (await self._known_keys(), None):
            if keys is None:
                keys = await self._newer_keys()
                if keys is None:
                    break
            fitting = [key for key in keys if _fits(key, key_id)]
            for key in fitting[:20]:
                claims = _verified(token, key, str(algorithm))
                if claims is not None:
                    return claims
        raise WrongToken("no key of the provider has signed it")

    async def _known_keys(self) -> list[Mapping[str, Any]]:
        if self._keys is None:
            self._keys, self._fetched_at = await self._fetch_keys(), self._clock.monotonic()
        return self._keys

    async def _newer_keys(self) -> list[Mapping[str, Any]] | None:
        """The keys anew; None when they were fetched a moment ago."""
        if self._clock.monotonic() - self._fetched_at < _REFETCH_SECONDS:
            return None
        self._keys = None
        return await self._known_keys()

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        if claims.get("iss") != self._settings.issuer:
            raise WrongToken("it is from another issuer")
        audience = claims.get("aud")
        readers = audience if isinstance(audience, list) else [audience]
        if self._settings.client_id not in readers:
            raise WrongToken("it is for somebody else")
        if ("azp" in claims or len(readers) > 1) and claims.get("azp") != self._settings.client_id:
            raise WrongToken("it was issued to another party")


def _header_of(token: str) -> Mapping[str, Any]:
    pieces = token.split(".")
    if len(token) > _MAX_LENGTH or len(pieces) != 3:
        raise WrongToken("it is no signed token")
    try:
        header = json.loads(base64.urlsafe_b64decode(pieces[0] + "=" * (-len(pieces[0]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        raise WrongToken("it cannot be read") from None
    if not isinstance(header, dict) or "crit" in header:
        raise WrongToken("it cannot be read")
    return header


def _fits(key: Mapping[str, Any], key_id: Any) -> bool:
    """A public key for signatures, with the name that the token gives if it gives one."""
    if key.get("kty") not in ("RSA", "EC", "OKP") or key.get("use", "sig") != "sig":
        return False
    return key_id is None or key.get("kid") == key_id


def _verified(token: str, key: Mapping[str, Any], algorithm: str) -> Mapping[str, Any] | None:
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    public = {name: value for name, value in key.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
    try:
        decoded = jwt.decode(token, JWKRegistry.import_key(public), algorithms=[algorithm])
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return decoded.claims if isinstance(decoded.claims, dict) else None


def _number(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongToken(f"{name} is missing")
    return value


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 255:
        raise WrongToken(f"{name} is missing")
    return value
