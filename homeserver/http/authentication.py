"""From a request to who is asking: where the token stands, and which kind of account a route takes.

Whether a token is valid is for the users' part to say; it knows nothing of HTTP and is reached through `TokenVerifier`.
Spec: Client-Server API, "Using access tokens"; Application Service API, "Identity assertion".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from homeserver.http.parsing import query_string
from homeserver.http.request import Request
from homeserver.http.routing import Auth
from homeserver.protocol.errors import Forbidden, GuestAccessForbidden, InvalidParam, MissingToken
from homeserver.users.requester import Requester


class Authenticator(Protocol):
    """What the HTTP application asks of every request."""

    async def authenticate(self, request: Request, auth: Auth) -> Requester | None:
        """Who is asking; None where the route needs nobody. Raises MissingToken, UnknownToken, Forbidden, …"""
        ...


class TokenVerifier(Protocol):
    """What the users' part answers (`homeserver/users/authentication.py`)."""

    async def verify_token(
        self,
        token: str,
        *,
        acts_as: str | None = None,
        device_id: str | None = None,
        address: str = "",
        user_agent: str = "",
    ) -> Requester:
        """Whose token it is. `acts_as` and `device_id` are an application service's wish to masquerade (the `user_id`
        and `device_id` query parameters), to be ignored for people's tokens; `address` and `user_agent` are remembered
        as the device's last place. Raises UnknownToken, UserLocked, Forbidden (not in the service's namespace)."""
        ...


@dataclass(frozen=True, slots=True)
class BearerAuthenticator:
    """The one implementation of `Authenticator`."""

    tokens: TokenVerifier

    async def authenticate(self, request: Request, auth: Auth) -> Requester | None:
        if auth is Auth.NONE:
            return None
        token = request.access_token
        if not token:
            if auth is Auth.OPTIONAL:
                return None
            raise MissingToken("This needs an access token, as the header Authorization: Bearer.")
        requester = await self.tokens.verify_token(
            token,
            acts_as=query_string(request, "user_id", None) if "user_id" in request.query else None,
            device_id=_masquerade_device(request),
            address=request.client_address,
            user_agent=request.headers.get("user-agent", "")[:256],
        )
        if auth is Auth.USER and requester.is_guest:
            raise GuestAccessForbidden("Guests may not do this; it needs a full account.")
        if auth is Auth.ADMIN and not requester.is_admin:
            raise Forbidden("Only administrators of this server may do this.")
        if auth is Auth.APPSERVICE and requester.appservice_id is None:
            raise Forbidden("Only application services may do this.")
        return requester


def _masquerade_device(request: Request) -> str | None:
    for name in ("device_id", "org.matrix.msc3202.device_id"):
        if name in request.query:
            return query_string(request, name)
    return None


def take_access_token(headers: Mapping[str, str], query: dict[str, list[str]], *, in_query: bool = True) -> str | None:
    """The bearer token of a request, which leaves `query`, so that nothing later can show it.

    The query parameter is deprecated (v1.11) and still taken, but where `in_query` is False. Raises InvalidParam when
    two different tokens are given.
    """
    header = headers.get("authorization")
    token: str | None = None
    if header is not None:
        scheme, _, rest = header.partition(" ")
        if scheme.lower() == "bearer":
            token = rest.strip()
    if "access_token" in query:
        for given in query.pop("access_token"):
            if not in_query:
                continue
            if token is not None and given != token:
                raise InvalidParam("The request carries two different access tokens.")
            token = given
    return token
