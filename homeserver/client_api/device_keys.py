"""Keys of devices: published, asked for, claimed. Spec: Client-Server API, "Key management API"."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.encryption.device_keys import DeviceKeys
from homeserver.encryption.key_queries import KeyQueries
from homeserver.encryption.one_time_keys import OneTimeKeys
from homeserver.http.parsing import parse_body, query_string
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam
from homeserver.rooms.tokens import StreamToken
from homeserver.sync.sync import Sync

_TIMEOUT_MS = 10_000
_MAXIMUM_TIMEOUT_MS = 60_000


class _UploadBody(msgspec.Struct):
    device_keys: dict[str, Any] | None = None
    one_time_keys: dict[str, Any] | None = None
    fallback_keys: dict[str, Any] | None = None
    unstable_fallback_keys: dict[str, Any] | None = msgspec.field(default=None, name="org.matrix.msc2732.fallback_keys")


class _QueryBody(msgspec.Struct):
    device_keys: dict[str, list[str]]
    timeout: int = _TIMEOUT_MS


class _ClaimBody(msgspec.Struct):
    one_time_keys: dict[str, dict[str, str]]
    timeout: int = _TIMEOUT_MS


class DeviceKeyApi:
    """/keys/upload, /keys/query, /keys/claim and /keys/changes."""

    def __init__(
        self, device_keys: DeviceKeys, key_queries: KeyQueries, one_time_keys: OneTimeKeys, sync: Sync
    ) -> None:
        self._device_keys = device_keys
        self._key_queries = key_queries
        self._one_time_keys = one_time_keys
        self._sync = sync

    async def upload_keys(self, request: Request) -> Response:
        body = parse_body(request, _UploadBody)
        if request.user.device_id is None:
            raise InvalidParam("Only a device can have keys; say which one with the parameter 'device_id'.")
        # The older name is another way to the same keys, never to more of them (row D10).
        fallback_keys = {**(body.unstable_fallback_keys or {}), **(body.fallback_keys or {})}
        counts = await self._device_keys.upload(
            request.user.user_id,
            request.user.device_id,
            device_keys=body.device_keys,
            one_time_keys=body.one_time_keys,
            fallback_keys=fallback_keys,
        )
        return Response({"one_time_key_counts": {"signed_curve25519": 0, **counts}})

    async def query_keys(self, request: Request) -> Response:
        body = parse_body(request, _QueryBody)
        timeout_ms = _bounded(body.timeout)
        return Response(await self._key_queries.query(request.user.user_id, body.device_keys, timeout_ms))

    async def claim_keys(self, request: Request) -> Response:
        body = parse_body(request, _ClaimBody)
        return Response(await self._one_time_keys.claim(body.one_time_keys, _bounded(body.timeout)))

    async def get_key_changes(self, request: Request) -> Response:
        """`to` "may be used by the server as a hint"; what happened since is told too."""
        since = StreamToken.parse(query_string(request, "from"))
        StreamToken.parse(query_string(request, "to"))
        changed, left = await self._sync.device_list_changes(request.user, since)
        return Response({"changed": sorted(changed), "left": sorted(left)})


def _bounded(timeout_ms: int) -> int:
    return max(0, min(timeout_ms, _MAXIMUM_TIMEOUT_MS))
