"""The OAuth 2.0 API: what clients ask for themselves. What people see is in `authorize_page.py` and its neighbours.

Spec: Client-Server API, "OAuth 2.0 API". Errors are in OAuth's own form (RFC 6749, section 5.2), not in Matrix's.
"""

from __future__ import annotations

from typing import Any

from homeserver.client_api.account_pages import ACTIONS
from homeserver.http.browsers import parse_form
from homeserver.http.parsing import parse_object
from homeserver.http.request import Request, Response
from homeserver.oauth.client_metadata import GRANT_TYPES, WrongMetadata
from homeserver.oauth.facts import Answer, refused
from homeserver.oauth.services import OAuthServices
from homeserver.protocol.errors import MatrixError, Unrecognized

_UNCACHED = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthApi:
    """/auth_metadata, and the endpoints that it names for clients."""

    def __init__(self, oauth: OAuthServices, *, may_register: bool) -> None:
        self._oauth = oauth
        self._may_register = may_register

    async def get_auth_metadata(self, request: Request) -> Response:
        """ "With `M_UNRECOGNIZED`: the homeserver does not support the OAuth 2.0 API." """
        if not self._oauth.settings.is_enabled:
            raise Unrecognized("This server does not offer the OAuth 2.0 API.")
        base = self._oauth.settings.base_url
        metadata: dict[str, Any] = {
            "issuer": f"{base}/",
            "authorization_endpoint": f"{base}/_halfdoor/account/authorize",
            "token_endpoint": f"{base}/_halfdoor/oauth2/token",
            "registration_endpoint": f"{base}/_halfdoor/oauth2/register",
            "revocation_endpoint": f"{base}/_halfdoor/oauth2/revoke",
            "device_authorization_endpoint": f"{base}/_halfdoor/oauth2/device",
            "account_management_uri": f"{base}/_halfdoor/account/manage",
            "account_management_actions_supported": list(ACTIONS),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "fragment"],
            "grant_types_supported": list(GRANT_TYPES),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            "ui_locales_supported": ["en", "zh"],
        }
        if self._may_register:
            metadata["prompt_values_supported"] = ["create"]
        return Response(metadata, headers={"Cache-Control": "public, max-age=300"})

    async def register_client(self, request: Request) -> Response:
        try:
            return Response(await self._oauth.clients.register(parse_object(request)), 201, _UNCACHED)
        except WrongMetadata as error:
            return _response(refused(error.error, str(error)))
        except MatrixError as error:
            return _response(refused("invalid_client_metadata", error.message))

    async def create_tokens(self, request: Request) -> Response:
        try:
            form = parse_form(request)
        except MatrixError as error:
            return _response(refused("invalid_request", error.message))
        return _response(await self._oauth.token_endpoint.create_tokens(form))

    async def authorize_device(self, request: Request) -> Response:
        try:
            form = parse_form(request)
        except MatrixError as error:
            return _response(refused("invalid_request", error.message))
        return _response(await self._oauth.token_endpoint.authorize_device(form))

    async def revoke(self, request: Request) -> Response:
        try:
            form = parse_form(request)
        except MatrixError as error:
            return _response(refused("invalid_request", error.message))
        return _response(await self._oauth.token_endpoint.revoke(form))


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, _UNCACHED)
