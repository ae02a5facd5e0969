"""Registration with a shared secret, in Synapse's form because every tool speaks it: /_synapse/admin/v1/register.

GET gives a nonce, good for one minute and one request. POST proves the secret: `mac` is HMAC-SHA1 over
nonce NUL username NUL password NUL "admin" or "notadmin" (NUL user_type, if given), in hexadecimal (rows F09 and F11).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import msgspec

from homeserver.clock import Clock
from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.http.routing import Auth, RateClass, Route, RouteGroup
from homeserver.protocol.errors import Forbidden, InvalidParam, Unrecognized
from homeserver.users.login import LoginWish
from homeserver.users.registration import Registration, RegistrationWish

NONCE_SECONDS = 60.0
_MAXIMUM_NONCES = 1000
USER_TYPES = ("bot", "support")


class _RegisterBody(msgspec.Struct):
    nonce: str
    username: str
    password: str
    mac: str
    displayname: str | None = None
    admin: bool = False
    user_type: str | None = None
    inhibit_login: bool = False


class SharedSecretRegistration:
    """`shared_secret` None or "": the path does not exist. Nonces are of this process, as in Synapse."""

    def __init__(self, registration: Registration, clock: Clock, shared_secret: str | None) -> None:
        self._registration = registration
        self._clock = clock
        self._shared_secret = shared_secret
        self._nonces: dict[str, float] = {}

    def routes(self) -> list[Route]:
        path = "/_synapse/admin/v1/register"
        return [
            Route("GET", path, self.get_nonce, Auth.NONE, RateClass.REGISTRATION, group=RouteGroup.ADMIN),
            Route("POST", path, self.register, Auth.NONE, RateClass.REGISTRATION, group=RouteGroup.ADMIN),
        ]

    async def get_nonce(self, request: Request) -> Response:
        self._secret()
        self._drop_old_nonces()
        if len(self._nonces) >= _MAXIMUM_NONCES:
            self._nonces.pop(next(iter(self._nonces)))
        nonce = secrets.token_hex(64)
        self._nonces[nonce] = self._clock.monotonic()
        return Response({"nonce": nonce})

    async def register(self, request: Request) -> Response:
        secret = self._secret()
        body = parse_body(request, _RegisterBody)
        self._drop_old_nonces()
        if self._nonces.pop(body.nonce, None) is None:
            raise InvalidParam("This nonce is unknown, used or too old; GET this path gives a new one.")
        if body.user_type is not None and body.user_type not in USER_TYPES:
            raise InvalidParam(f"'user_type' must be one of: {', '.join(USER_TYPES)}.")
        if any("\0" in text for text in (body.username, body.password)):
            raise InvalidParam("A user name or password may not contain NUL.")
        expected = mac_of(
            secret, body.nonce, body.username, body.password, is_admin=body.admin, user_type=body.user_type
        )
        if not hmac.compare_digest(expected.encode(), body.mac.encode("utf-8", "surrogatepass")):
            raise Forbidden("The HMAC is wrong: check the shared secret.")
        login = None if body.inhibit_login else LoginWish()
        wish = RegistrationWish(body.username, body.password, login)
        done = await self._registration.register_by_operator(
            wish, display_name=body.displayname, is_admin=body.admin, user_type=body.user_type
        )
        return Response(done.members())

    def _secret(self) -> str:
        if not self._shared_secret:
            raise Unrecognized("Shared secret registration is not enabled on this server.")
        return self._shared_secret

    def _drop_old_nonces(self) -> None:
        oldest = self._clock.monotonic() - NONCE_SECONDS
        self._nonces = {nonce: made for nonce, made in self._nonces.items() if made > oldest}


def mac_of(
    secret: str, nonce: str, username: str, password: str, *, is_admin: bool = False, user_type: str | None = None
) -> str:
    """The proof that a tool sends, in hexadecimal."""
    parts = [nonce, username, password, "admin" if is_admin else "notadmin"]
    if user_type is not None:
        parts.append(user_type)
    message = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hmac.new(secret.encode(), message, hashlib.sha1).hexdigest()
