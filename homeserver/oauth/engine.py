"""Authlib as the engine of the authorization server: it judges requests by the RFCs, and stores nothing.

What it asks for (client, code, refresh token, device code) was read before; what it grants is left in `granted`, and is
written by the caller in one transaction, which may still find that somebody was faster. So the engine is synchronous
and pure. It is imported when the first request comes, since most of its memory is never needed otherwise.
"""

# mypy: disable-error-code="misc,no-untyped-call,no-any-return"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidScopeError, UnauthorizedClientError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant

from homeserver.oauth.client_metadata import is_redirect_uri
from homeserver.oauth.facts import Answer, Facts, refused
from homeserver.oauth.scopes import WrongScope, parse_scope
from homeserver.storage.oauth_clients import OAuthClient
from homeserver.storage.oauth_grants import AuthorizationCode, DeviceCode, OAuthSession
from homeserver.users.secret_tokens import new_token

_HERE: Final = "https://authorization.server.invalid/"
"""Authlib wants to see that a request came by TLS. Where that ends is the operator's affair."""


PARAMETERS: Final = (
    *("client_id", "code", "code_challenge", "code_challenge_method", "code_verifier", "device_code", "grant_type"),
    *("redirect_uri", "refresh_token", "response_mode", "response_type", "scope", "state", "token", "token_type_hint"),
)
"""All of them are printable ASCII (RFC 6749, appendix A). Authlib repeats them in its errors, and fails at others."""


def unfit_parameter(given: Mapping[str, str]) -> str | None:
    """The name of a parameter that holds what it cannot hold."""
    for name in PARAMETERS:
        value = given.get(name, "")
        if not value.isascii() or not value.isprintable() or (name != "state" and set(value) & {'"', "\\"}):
            return name
    return None


class Engine(AuthorizationServer):
    """One request's server: knows what `facts` hold."""

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.facts = facts
        self.granted: dict[str, Any] = {}
        self.register_token_generator("default", lambda scope=None, **_: {"token_type": "Bearer", "scope": scope})
        self.register_grant(_CodeGrant, [_CodeChallenge(required=True)])
        self.register_grant(_RefreshGrant)
        self.register_grant(_DeviceGrant)
        self.register_endpoint(_DeviceEndpoint)
        self.register_endpoint(_Revocation)

    def judge_authorization(self, query: Mapping[str, str]) -> Any:
        """The grant that a request at the authorization endpoint asks for. Raises OAuth2Error, with `redirect_uri`
        where the client may be told."""
        unfit = unfit_parameter(query)
        if unfit is not None:
            raise InvalidRequestError(f"{unfit!r} holds characters that it cannot have")
        return self.get_consent_grant(_Request("GET", query))

    def authorize(self, grant: Any, user_id: str | None) -> str:
        """Where the browser goes when the person said yes (`user_id`) or no (None). A yes leaves `granted["code"]`."""
        answer = self.create_authorization_response(grant.request, grant_user=user_id, grant=grant)
        return dict(answer.headers)["Location"]

    def token(self, form: Mapping[str, str]) -> Answer:
        """The token endpoint; the tokens themselves are the caller's to add."""
        unfit = unfit_parameter(form)
        if unfit is not None:
            return refused("invalid_request", f"{unfit!r} holds characters that it cannot have")
        return self.create_token_response(_Request("POST", form))

    def endpoint(self, name: str, form: Mapping[str, str]) -> Answer:
        """`device_authorization` or `revocation`."""
        unfit = unfit_parameter(form)
        if unfit is not None:
            return refused("invalid_request", f"{unfit!r} holds characters that it cannot have")
        return self.create_endpoint_response(name, _Request("POST", form))

    # What Authlib asks of a server.

    def query_client(self, client_id: str) -> Any:
        client = self.facts.client
        return _Client(client) if client is not None and client.client_id == client_id else None

    def save_token(self, token: Any, request: Any) -> None:
        return None

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        return None

    def create_oauth2_request(self, request: Any) -> Any:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> Answer:
        return Answer(status, body if isinstance(body, dict) else {}, tuple(headers))


class _Request(OAuth2Request):
    """A request whose parameters are parsed already."""

    def __init__(self, method: str, parameters: Mapping[str, str]) -> None:
        super().__init__(method, _HERE)
        self.payload = BasicOAuth2Payload(dict(parameters))

    @property
    def form(self) -> Mapping[str, str]:
        return self.payload.data

    @property
    def args(self) -> Mapping[str, str]:
        return self.payload.data


class _Client(ClientMixin):
    def __init__(self, client: OAuthClient) -> None:
        self.client = client

    def get_client_id(self) -> str:
        return self.client.client_id

    def get_default_redirect_uri(self) -> None:
        """None: the redirect URI is always told."""

    def get_allowed_scope(self, scope: str | None) -> str:
        return _scope(scope).text

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return is_redirect_uri(self.client.metadata, redirect_uri)

    def check_client_secret(self, client_secret: str) -> bool:
        return False

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "none"

    def check_response_type(self, response_type: str) -> bool:
        return response_type in self.client.metadata.get("response_types", [])

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.client.metadata.get("grant_types", [])


class _CodeGrant(AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS: Final = ["none"]

    def validate_authorization_request(self) -> str:
        redirect_uri = super().validate_authorization_request()
        if self.request.payload.data.get("response_mode", "query") not in ("query", "fragment"):
            raise InvalidRequestError("Unsupported 'response_mode'", redirect_uri=redirect_uri)
        return redirect_uri

    def create_authorization_response(self, redirect_uri: str, grant_user: str | None) -> Any:
        if not grant_user:
            raise AccessDeniedError(redirect_uri=redirect_uri)
        code = new_token("hdc")
        self.server.granted["code"] = code
        parameters = [("code", code)]
        if self.request.payload.state:
            parameters.append(("state", self.request.payload.state))
        in_fragment = self.request.payload.data.get("response_mode") == "fragment"
        return 302, "", [("Location", add_params_to_uri(redirect_uri, parameters, fragment=in_fragment))]

    def query_authorization_code(self, code: str, client: _Client) -> _Code | None:
        known = self.server.facts.code
        if known is None or known.client_id != client.get_client_id():
            return None
        if known.is_used or known.expires_ts <= self.server.facts.now_ms:
            return None
        return _Code(known)

    def authenticate_user(self, authorization_code: Any) -> str:
        return authorization_code.code.user_id

    def delete_authorization_code(self, authorization_code: Any) -> None:
        self.server.granted["exchanged"] = authorization_code.code


class _Code:
    """A stored code in Authlib's terms."""

    code_challenge_method = "S256"

    def __init__(self, code: AuthorizationCode) -> None:
        self.code = code
        self.code_challenge = code.code_challenge

    def get_redirect_uri(self) -> str:
        return self.code.redirect_uri

    def get_scope(self) -> str:
        return self.code.scope


class _CodeChallenge(CodeChallenge):
    """PKCE with S256 and nothing else, and never without."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD: Final = ["S256"]

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        parameters = grant.request.payload.data
        if not parameters.get("code_challenge") or parameters.get("code_challenge_method") != "S256":
            raise InvalidRequestError("A 'code_challenge' with 'code_challenge_method' S256 is required")
        super().validate_code_challenge(grant, redirect_uri)


class _RefreshGrant(RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS: Final = ["none"]
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Any:
        session = self.server.facts.session
        return None if session is None else _Session(session)

    def authenticate_user(self, refresh_token: Any) -> str:
        return refresh_token.session.user_id

    def revoke_old_credential(self, refresh_token: Any) -> None:
        self.server.granted["refreshed"] = refresh_token.session


class _Session:
    """The session of a refresh token in Authlib's terms."""

    def __init__(self, session: OAuthSession) -> None:
        self.session = session

    def check_client(self, client: _Client) -> bool:
        return self.session.client_id == client.get_client_id()

    def get_scope(self) -> str:
        return self.session.scope


class _DeviceGrant(DeviceCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS: Final = ["none"]

    def query_device_credential(self, device_code: str) -> Any:
        code = self.server.facts.device_code
        if code is None or code.state == "used":
            raise InvalidGrantError("The device code is unknown or was used")
        return _DeviceCredential(code, self.server.facts.now_ms)

    def query_user_grant(self, user_code: str) -> tuple[str, bool] | None:
        code = self.server.facts.device_code
        return None if code.state == "pending" else (code.user_id or "", code.state == "approved")

    def should_slow_down(self, credential: Any) -> bool:
        code = credential.code
        too_soon = self.server.facts.now_ms < code.polled_ts + code.interval_ms
        self.server.granted["polled"] = (code, too_soon)
        return too_soon

    def create_token_response(self) -> Any:
        answer = super().create_token_response()
        self.server.granted["device"] = self.request.credential.code
        return answer


class _DeviceCredential:
    def __init__(self, code: DeviceCode, now_ms: int) -> None:
        self.code = code
        self._now_ms = now_ms

    def get_client_id(self) -> str:
        return self.code.client_id

    def get_scope(self) -> str:
        return self.code.scope

    def get_user_code(self) -> str:
        return self.code.user_code_hash

    def is_expired(self) -> bool:
        return self.code.expires_ts <= self._now_ms


class _DeviceEndpoint(DeviceAuthorizationEndpoint):
    CLIENT_AUTH_METHODS: Final = ["none"]
    EXPIRES_IN = 1200

    def create_endpoint_response(self, request: Any) -> Any:
        client = self.authenticate_client(request)
        if not client.check_grant_type(DeviceCodeGrant.GRANT_TYPE):
            raise UnauthorizedClientError("The client did not register the device code grant")
        self.server.granted["scope"] = _scope(request.payload.scope)
        return super().create_endpoint_response(request)

    def generate_device_code(self) -> str:
        return new_token("hdd")

    def get_verification_uri(self) -> str:
        return self.server.facts.verification_uri

    def save_device_credential(self, client_id: str, scope: str, data: Any) -> None:
        """Left to the caller, who has the answer."""


class _Revocation(RevocationEndpoint):
    """ "If the `client_id` is not provided, or does not match the client associated with the token, the server SHOULD
    still revoke the token." So nobody is asked who they are."""

    def create_endpoint_request(self, request: Any) -> Any:
        return request

    def __call__(self, request: Any) -> Any:
        return self.create_endpoint_response(request)

    def authenticate_endpoint_client(self, request: Any) -> None:
        return None

    def check_params(self, request: Any, client: Any) -> None:
        if not request.form.get("token"):
            raise InvalidRequestError("Missing 'token' in request.")

    def query_token(self, token_string: str, token_type_hint: str | None) -> None:
        """The caller looks for it under its hash, as both kinds: the hint only optimizes."""


def _scope(asked: str | None) -> Any:
    try:
        return parse_scope(asked)
    except WrongScope as error:
        raise InvalidScopeError(str(error)) from None


def error_location(error: OAuth2Error, query: Mapping[str, str]) -> str | None:
    """Where the browser takes an error of the authorization endpoint to; None: to nobody, it is shown here."""
    return _error_location(error, error.redirect_uri, query) if error.redirect_uri else None


def denial_location(redirect_uri: str, query: Mapping[str, str]) -> str:
    """Where the browser goes when the person said no."""
    return _error_location(AccessDeniedError(), redirect_uri, query)


def _error_location(error: OAuth2Error, redirect_uri: str, query: Mapping[str, str]) -> str:
    parameters = [("error", str(error.error))]
    if error.description:
        parameters.append(("error_description", str(error.description)))
    if query.get("state"):
        parameters.append(("state", query["state"]))
    in_fragment = query.get("response_mode") == "fragment"
    return add_params_to_uri(redirect_uri, parameters, fragment=in_fragment)
