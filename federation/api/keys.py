"""Our keys, for everybody, and what we know of those of others.

Spec: Server-Server API, "Publishing Keys", "Querying Keys Through Another Server".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from signedjson.types import SigningKey
from unpaddedbase64 import encode_base64

from homeserver.clock import Clock
from homeserver.http.request import Request, Response
from homeserver.protocol.signatures import key_id_of, sign

VALID_MS = 24 * 3600 * 1000


class KeysApi:
    """`/_matrix/key/v2`."""

    def __init__(
        self, server_name: str, signing_key: SigningKey, old_keys: Mapping[str, tuple[str, int]], clock: Clock
    ) -> None:
        self._server_name = server_name
        self._signing_key = signing_key
        self._old_keys = old_keys
        self._clock = clock

    def own_keys(self) -> dict[str, Any]:
        """The signed object that this server publishes."""
        verify_key = encode_base64(self._signing_key.verify_key.encode())
        said = {
            "server_name": self._server_name,
            "verify_keys": {key_id_of(self._signing_key): {"key": verify_key}},
            "old_verify_keys": {
                key_id: {"key": key, "expired_ts": expired} for key_id, (key, expired) in self._old_keys.items()
            },
            "valid_until_ts": self._clock.now_ms() + VALID_MS,
        }
        return sign(said, self._server_name, self._signing_key)

    async def get_keys(self, request: Request) -> Response:
        """`GET /_matrix/key/v2/server`"""
        return Response(self.own_keys())

    async def query_keys_of(self, request: Request) -> Response:
        """`GET /_matrix/key/v2/query/{serverName}`: this server tells of its own keys alone."""
        name = request.path_params["server_name"]
        return Response({"server_keys": [self.own_keys()] if name == self._server_name else []})

    async def query_keys(self, request: Request) -> Response:
        """`POST /_matrix/key/v2/query`"""
        from homeserver.http.parsing import parse_object

        wanted = parse_object(request).get("server_keys")
        asked = isinstance(wanted, dict) and self._server_name in wanted
        return Response({"server_keys": [self.own_keys()] if asked else []})
