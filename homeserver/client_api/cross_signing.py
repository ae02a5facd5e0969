"""Cross-signing keys and signatures. Spec: Client-Server API, "Cross-signing"."""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.client_api.interactive_auth import operation_of
from homeserver.encryption.cross_signing import CrossSigning, ProofNeeded
from homeserver.encryption.key_signatures import KeySignatures
from homeserver.http.parsing import convert, parse_body, parse_object
from homeserver.http.request import Request, Response
from homeserver.users.interactive_auth import InteractiveAuth


class _KeysBody(msgspec.Struct):
    master_key: dict[str, Any] | None = None
    self_signing_key: dict[str, Any] | None = None
    user_signing_key: dict[str, Any] | None = None


class CrossSigningApi:
    """/keys/device_signing/upload and /keys/signatures/upload."""

    def __init__(
        self, cross_signing: CrossSigning, key_signatures: KeySignatures, interactive_auth: InteractiveAuth
    ) -> None:
        self._cross_signing = cross_signing
        self._key_signatures = key_signatures
        self._interactive_auth = interactive_auth

    async def upload_keys(self, request: Request) -> Response:
        """Replacing keys takes a proof, except of application services (v1.17); the first ones do not (v1.11)."""
        body = parse_object(request)
        wanted = convert(body, _KeysBody)
        given = {
            "master": wanted.master_key,
            "self_signing": wanted.self_signing_key,
            "user_signing": wanted.user_signing_key,
        }
        keys = {usage: key for usage, key in given.items() if key is not None}
        user_id = request.user.user_id
        try:
            await self._cross_signing.upload(user_id, keys, is_proved=request.user.appservice_id is not None)
        except ProofNeeded:
            await self._interactive_auth.check(operation_of(request, body), [["m.login.password"]])
            await self._cross_signing.upload(user_id, keys, is_proved=True)
        return Response({})

    async def upload_signatures(self, request: Request) -> Response:
        signed = parse_body(request, dict[str, dict[str, Any]])
        return Response({"failures": await self._key_signatures.upload(request.user.user_id, signed)})
