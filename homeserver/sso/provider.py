"""One identity provider by OpenID Connect: discovery, the way there, the code's exchange, and who came back.

Spec: OpenID Connect Core 1.0, sections 3.1 and 5.3; Discovery 1.0; RFC 7636 (PKCE, always); RFC 9207 and a redirect URI
of its own for each provider against mix-up (RFC 9700, section 4.4). The provider's own answers are not believed before
its signature is checked (row F12).
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from homeserver.clock import Clock
from homeserver.outbound.client import Outbound
from homeserver.outbound.failures import OutboundFailed
from homeserver.sso.settings import ProviderSettings
from homeserver.sso.signed_tokens import SignedTokens

_METADATA_KEPT_SECONDS: Final = 3600.0
_TIMEOUT: Final = 15.0


class ProviderFailed(Exception):
    """The provider did not do what it must; the sentence is for the log and, without detail, for the person."""


@dataclass(frozen=True, slots=True)
class Departure:
    """A login that leaves for the provider: where the browser goes, and what must come back."""

    url: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)


class Provider:
    """Speaks to one provider. `redirect_uri` is where it sends browsers back to."""

    def __init__(self, settings: ProviderSettings, outbound: Outbound, clock: Clock, redirect_uri: str) -> None:
        self.settings = settings
        self._outbound = outbound
        self._clock = clock
        self._redirect_uri = redirect_uri
        self._metadata: Mapping[str, Any] | None = None
        self._read_at = 0.0
        self.tokens = SignedTokens(settings, clock, self._fetch_keys)

    async def depart(self, *, prove: bool = False) -> Departure:
        """`prove`: the person is to log in anew. Raises ProviderFailed."""
        metadata = await self._get_metadata()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        parameters = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if prove:
            parameters["prompt"] = "login"
        endpoint = self._endpoint(metadata, "authorization_endpoint")
        joint = "&" if "?" in endpoint else "?"
        return Departure(f"{endpoint}{joint}{urlencode(parameters)}", state, nonce, verifier)

    async def arrive(self, code: str, code_verifier: str, nonce: str, issuer: str | None) -> Mapping[str, Any]:
        """The claims about whoever came back with `code`; `issuer` is the callback's `iss`. Raises ProviderFailed."""
        metadata = await self._get_metadata()
        must_name = metadata.get("authorization_response_iss_parameter_supported") is True
        if (issuer is not None or must_name) and issuer != self.settings.issuer:
            raise ProviderFailed("the answer came from another issuer")
        answer = await self._exchange(metadata, code, code_verifier)
        id_token = answer.get("id_token")
        if not isinstance(id_token, str):
            raise ProviderFailed("there is no ID token in the answer")
        claims = await self.tokens.read_id_token(id_token, nonce)
        access_token = answer.get("access_token")
        if "userinfo_endpoint" in metadata and isinstance(access_token, str) and self.settings.asks_userinfo:
            return await self._with_userinfo(metadata, claims, access_token)
        return claims

    async def _with_userinfo(
        self, metadata: Mapping[str, Any], claims: Mapping[str, Any], access_token: str
    ) -> Mapping[str, Any]:
        """Core, 5.3.2: "The sub Claim in the UserInfo Response MUST be verified to exactly match the sub Claim in the
        ID Token; if they do not match, the UserInfo Response values MUST NOT be used." """
        endpoint = self._endpoint(metadata, "userinfo_endpoint")
        if not access_token.isascii() or not access_token.isprintable():
            raise ProviderFailed("the access token has characters that no header can carry")
        more = await self._ask("GET", endpoint, {"authorization": f"Bearer {access_token}"})
        if more.get("sub") != claims["sub"]:
            raise ProviderFailed("userinfo is about somebody else")
        return {**more, **claims}

    async def _exchange(self, metadata: Mapping[str, Any], code: str, code_verifier: str) -> Mapping[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": code_verifier,
        }
        headers = {"content-type": "application/x-www-form-urlencoded"}
        secret = self.settings.client_secret
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if secret is not None and "client_secret_basic" in methods:
            # RFC 6749, 2.3.1: both are form-encoded first.
            pair = f"{quote(self.settings.client_id, safe='')}:{quote(secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = self.settings.client_id
            if secret is not None:
                form["client_secret"] = secret
        return await self._ask("POST", self._endpoint(metadata, "token_endpoint"), headers, urlencode(form).encode())

    async def _get_metadata(self) -> Mapping[str, Any]:
        now = self._clock.monotonic()
        if self._metadata is None or now - self._read_at > _METADATA_KEPT_SECONDS:
            url = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = await self._ask("GET", url, {})
            # Discovery, 4.3: "The issuer value returned MUST be identical to the Issuer URL".
            if found.get("issuer") != self.settings.issuer:
                raise ProviderFailed("its metadata is that of another issuer")
            self._metadata, self._read_at = found, now
        return self._metadata

    async def _fetch_keys(self) -> list[Mapping[str, Any]]:
        found = await self._ask("GET", self._endpoint(await self._get_metadata(), "jwks_uri"), {})
        keys = found.get("keys")
        if not isinstance(keys, list):
            raise ProviderFailed("its keys could not be read")
        return [key for key in keys if isinstance(key, dict)]

    def _endpoint(self, metadata: Mapping[str, Any], name: str) -> str:
        """An endpoint by TLS, unless the operator wrote an issuer without it."""
        url = metadata.get(name)
        allowed = ("https://", "http://") if self.settings.issuer.startswith("http://") else ("https://",)
        if not isinstance(url, str) or not url.startswith(allowed) or not (url.isascii() and url.isprintable()):
            raise ProviderFailed(f"its metadata has no usable {name}")
        return url

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Mapping[str, Any]:
        """A JSON object. What the operator named is trusted to be in a private network; what that names is not."""
        trusted = urlsplit(url).netloc == urlsplit(self.settings.issuer).netloc
        try:
            answer = await self._outbound.request(
                method,
                url,
                headers={"accept": "application/json", **headers},
                body=body,
                timeout=_TIMEOUT,
                trusted=trusted,
            )
        except OutboundFailed as error:
            raise ProviderFailed(f"it could not be asked: {error}") from None
        if answer.status != 200:
            raise ProviderFailed(f"it answered {answer.status}")
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise ProviderFailed("its answer could not be read") from None
        if not isinstance(value, dict):
            raise ProviderFailed("its answer could not be read")
        return value
