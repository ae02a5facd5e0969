"""Who signed a request. Every handler behind `signed` knows the origin; no other way leads to one (B09)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from federation.backoff import Backoff
from federation.client import EVERYBODY, RemoteFailed
from federation.keyring import Keyring
from federation.request_signing import check_request, parse_authorization
from homeserver.http.request import Request, Response
from homeserver.http.routing import Handler
from homeserver.protocol.errors import Forbidden, NotJson, Unauthorized
from homeserver.protocol.server_acl import ServerAcl

SignedHandler = Callable[[Request, str, Any], Awaitable[Any]]
"""(request, origin, decoded body or None) → the body of the answer."""

_decode = msgspec.json.Decoder().decode


class ServerAuthenticator:
    """Checks the signatures of requests."""

    def __init__(
        self,
        keyring: Keyring,
        backoff: Backoff,
        own_name: str,
        alive: Callable[[str], None],
        partners: ServerAcl = EVERYBODY,
    ) -> None:
        self._keyring = keyring
        self._backoff = backoff
        self._own_name = own_name
        self._alive = alive
        self._partners = partners

    def signed(self, handler: SignedHandler) -> Handler:
        """`handler` for requests that another server has signed; Unauthorized for all others."""

        async def checked(request: Request) -> Response:
            content = _content(request)
            origin = await self._origin(request, content)
            try:
                answer = await handler(request, origin, content)
            except RemoteFailed as error:
                # It was the origin that was asked, for what its own event stands on: no fault of this server.
                raise Forbidden(f"What this stands on cannot be had: {error.message}") from error
            return answer if isinstance(answer, Response) else Response(answer)

        return checked

    async def _origin(self, request: Request, content: Any) -> str:
        header = request.headers.get("authorization")
        if header is None:
            raise Unauthorized("Requests between servers are signed: Authorization: X-Matrix ...")
        said = parse_authorization(header, self._own_name)
        if not self._partners.allows(said.origin):
            raise Forbidden("This server has nothing to do with yours")
        key = await self._keyring.key_for_request(said.origin, said.key_id)
        check_request(request.method, request.target, content, said, key)
        if await self._backoff.note_alive(said.origin):
            self._alive(said.origin)
        return said.origin


def _content(request: Request) -> Any:
    """The body as it was signed. Looser than for clients: what cannot be kept falls with the event that has it, and not
    with all of its transaction."""
    if not request.body:
        return None
    try:
        return _decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(f"The body is not JSON: {error}") from error
