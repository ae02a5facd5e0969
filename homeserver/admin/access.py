"""Who may operate the server, and what is written down of it.

Every route of operators needs an administrator's access token, or the token that a command of the same configuration
makes for itself (`OperatorTokens`). Each request that changes something leaves one line in the log
`homeserver.admin.audit`: who, what, about whom, and the outcome; never a body, and never a registration token.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from homeserver.clock import Clock
from homeserver.http.authentication import Authenticator
from homeserver.http.request import Request, Response
from homeserver.http.routing import Auth, Handler, RateClass, Route, RouteGroup
from homeserver.protocol.errors import Forbidden, MatrixError, UnknownToken
from homeserver.users.requester import Requester

PREFIX: Final = "hda"
LIFETIME_MS: Final = 120_000
OPERATOR: Final = "@OPERATOR"
"""As whom a command acts. Nobody can register this name, since new names are in lower case."""
SECRET_PARAMETERS: Final = frozenset({"token"})

_audit = logging.getLogger("homeserver.admin.audit")


class OperatorTokens:
    """Tokens that whoever can read the signing key makes: good for two minutes, on the operators' routes alone, and for
    one request, so that who gets hold of one cannot ask for anything else with it."""

    def __init__(self, signing_key_seed: bytes, server_name: str, clock: Clock) -> None:
        self._key = hashlib.sha256(b"halfdoor operator\0" + signing_key_seed).digest()
        self._clock = clock
        self.user_id = f"{OPERATOR}:{server_name}"

    def make(self, method: str, path: str, body: bytes = b"") -> str:
        """A new token for a request; `path` as it is sent, without the query."""
        text = f"{self._clock.now_ms() + LIFETIME_MS}.{secrets.token_urlsafe(12)}"
        return f"{PREFIX}_{text}.{self._mac(text, method, path, body)}"

    def is_valid(self, token: str, method: str, path: str, body: bytes) -> bool:
        """Whether it was made here for this request and has not expired."""
        text, _, mac = token.removeprefix(f"{PREFIX}_").rpartition(".")
        expected = self._mac(text, method, path, body)
        if not hmac.compare_digest(expected.encode(), mac.encode("utf-8", "surrogatepass")):
            return False
        until = text.partition(".")[0]
        return until.isdigit() and self._clock.now_ms() < int(until)

    def _mac(self, text: str, method: str, path: str, body: bytes) -> str:
        said = f"{text}\n{method}\n{path}\n".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, said + hashlib.sha256(body).digest(), hashlib.sha256).hexdigest()


class OperatorAuthenticator:
    """`Authenticator` that knows the tokens of commands on the routes for administrators."""

    def __init__(self, people: Authenticator, tokens: OperatorTokens) -> None:
        self._people = people
        self._tokens = tokens

    async def authenticate(self, request: Request, auth: Auth) -> Requester | None:
        if auth is Auth.ADMIN and request.access_token and request.access_token.startswith(f"{PREFIX}_"):
            if not self._tokens.is_valid(request.access_token, request.method, request.path, request.body):
                raise UnknownToken("This operator's token is wrong or too old.", soft_logout=False)
            return Requester(self._tokens.user_id, is_admin=True)
        return await self._people.authenticate(request, auth)


class AdminRoutes:
    """Makes the rows of the operators' routes: every one is for administrators alone and is written down."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    def __call__(self, method: str, path: str, handler: Handler, *, aliases: tuple[str, ...] = ()) -> Route:
        """A row below /_synapse/admin."""
        base = "/_synapse/admin"
        return self.row(method, base + path, handler, aliases=tuple(base + alias for alias in aliases))

    def row(self, method: str, path: str, handler: Handler, *, aliases: tuple[str, ...] = ()) -> Route:
        """A row with its whole path."""
        return Route(
            method,
            path,
            self._guarded(method, path, handler),
            Auth.ADMIN,
            RateClass.NONE,
            aliases=aliases,
            group=RouteGroup.ADMIN,
        )

    def check_network(self, request: Request) -> None:
        """Raises Forbidden for addresses outside the configured networks."""
        if not self._networks or request.user.user_id.startswith(f"{OPERATOR}:"):
            return
        try:
            address = ipaddress.ip_address(request.client_address)
        except ValueError:
            raise Forbidden("The operators' API cannot be reached from here.") from None
        mapped = getattr(address, "ipv4_mapped", None)
        if not any((mapped or address) in network for network in self._networks):
            raise Forbidden("The operators' API cannot be reached from here.")

    def _guarded(self, method: str, path: str, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            self.check_network(request)
            if method == "GET":
                return await handler(request)
            try:
                response = await handler(request)
            except MatrixError as error:
                _write_down(request, method, path, error.errcode)
                raise
            _write_down(request, method, path, "done")
            return response

        return guarded


def _write_down(request: Request, method: str, path: str, outcome: str) -> None:
    about = _about(request.path_params)
    _audit.info("%s: %s %s%s from %s: %s", request.user.user_id, method, path, about, request.client_address, outcome)


def _about(params: Mapping[str, str]) -> str:
    shown = [f" {name}={value!r}" for name, value in params.items() if name not in SECRET_PARAMETERS]
    return "".join(shown)
