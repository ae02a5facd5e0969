"""Our keys, for everybody, and as a notary what others have published of theirs.

A notary tells what the other server itself has signed, with our signature beside. Whoever asks is not known, so that
one question names few servers, and nothing is asked for again within a minute (`Keyring`).

Spec: Server-Server API, "Publishing Keys", "Querying Keys Through Another Server".
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from signedjson.types import SigningKey
from unpaddedbase64 import encode_base64

from federation.keyring import Keyring
from homeserver.clock import Clock
from homeserver.http.parsing import parse_object, query_int
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam
from homeserver.protocol.identifiers import is_server_name
from homeserver.protocol.signatures import key_id_of, sign

VALID_MS: Final = 24 * 3600 * 1000
QUERIED_SERVERS: Final = 20
QUERIED_KEYS: Final = 100


class KeysApi:
    """`/_matrix/key/v2`."""

    def __init__(
        self,
        server_name: str,
        signing_key: SigningKey,
        old_keys: Mapping[str, tuple[str, int]],
        clock: Clock,
        keyring: Keyring,
    ) -> None:
        self._server_name = server_name
        self._signing_key = signing_key
        self._old_keys = old_keys
        self._clock = clock
        self._keyring = keyring

    def own_keys(self) -> dict[str, Any]:
        """The signed object that this server publishes."""
        verify_key = encode_base64(self._signing_key.verify_key.encode())
        current = key_id_of(self._signing_key)
        said = {
            "server_name": self._server_name,
            "verify_keys": {current: {"key": verify_key}},
            "old_verify_keys": {
                key_id: {"key": key, "expired_ts": expired}
                for key_id, (key, expired) in self._old_keys.items()
                if key_id != current
            },
            "valid_until_ts": self._clock.now_ms() + VALID_MS,
        }
        return sign(said, self._server_name, self._signing_key)

    async def get_keys(self, request: Request) -> Response:
        """`GET /_matrix/key/v2/server`"""
        return Response(self.own_keys())

    async def query_keys_of(self, request: Request) -> Response:
        """`GET /_matrix/key/v2/query/{serverName}`"""
        name = request.path_params["server_name"]
        until = query_int(request, "minimum_valid_until_ts", 0, 0, 2**53 - 1)
        return Response({"server_keys": await self._published({name: {"": until or None}})})

    async def query_keys(self, request: Request) -> Response:
        """`POST /_matrix/key/v2/query`"""
        asked = parse_object(request).get("server_keys")
        if not isinstance(asked, dict) or len(asked) > QUERIED_SERVERS:
            raise InvalidParam(f"server_keys names up to {QUERIED_SERVERS} servers")
        wanted: dict[str, dict[str, int | None]] = {}
        for name, keys in asked.items():
            if not isinstance(keys, dict) or len(keys) > QUERIED_KEYS:
                raise InvalidParam("server_keys says of each server which keys are wanted")
            wanted[name] = {key_id: _minimum(criteria) for key_id, criteria in keys.items()}
        return Response({"server_keys": await self._published(wanted)})

    async def _published(self, wanted: Mapping[str, Mapping[str, int | None]]) -> list[dict[str, Any]]:
        told = await asyncio.gather(*(self._of(name, keys) for name, keys in wanted.items()))
        return [found for found in told if found is not None]

    async def _of(self, name: str, keys: Mapping[str, int | None]) -> dict[str, Any] | None:
        if name == self._server_name:
            return self.own_keys()
        if not is_server_name(name):
            return None
        said = await self._keyring.find_published(name, keys)
        return None if said is None else sign(said, self._server_name, self._signing_key)


def _minimum(criteria: Any) -> int | None:
    until = criteria.get("minimum_valid_until_ts") if isinstance(criteria, dict) else None
    return until if isinstance(until, int) and not isinstance(until, bool) else None
