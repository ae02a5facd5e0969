"""Registration tokens, for operators: /registration_tokens."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Callable
from typing import Any, Final

import msgspec

from homeserver.admin.paging import flag_of
from homeserver.http.parsing import parse_body
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam, NotFound
from homeserver.storage.database import Database, Transaction
from homeserver.storage.registration_tokens import RegistrationToken, RegistrationTokenStore

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_ALPHABET: Final = string.ascii_letters + string.digits + "._~-"


class _NewBody(msgspec.Struct):
    token: str | None = None
    uses_allowed: int | None = None
    expiry_time: int | None = None
    length: int | None = None


class _UpdateBody(msgspec.Struct):
    uses_allowed: int | msgspec.UnsetType | None = msgspec.UNSET
    expiry_time: int | msgspec.UnsetType | None = msgspec.UNSET


class RegistrationTokenApi:
    """Who may register with what."""

    def __init__(self, db: Database, store: RegistrationTokenStore, now_ms: Callable[[], int]) -> None:
        self._db = db
        self._store = store
        self._now_ms = now_ms

    async def list_tokens(self, request: Request) -> Response:
        valid = flag_of(request, "valid", None)
        now = self._now_ms()
        found = [token for token in await self._store.list_tokens() if valid is None or token.is_valid(now) == valid]
        return Response({"registration_tokens": [_shown(token) for token in found], "total": len(found)})

    async def create_token(self, request: Request) -> Response:
        body = parse_body(request, _NewBody, allow_empty=True)
        length = 16 if body.length is None else body.length
        if not 1 <= length <= 64:
            raise InvalidParam("'length' must be from 1 to 64.")
        text = "".join(secrets.choice(_ALPHABET) for _ in range(length)) if body.token is None else body.token
        if _TOKEN.fullmatch(text) is None:
            raise InvalidParam("'token' has 1 to 64 characters, which are letters, digits or one of . _ ~ -")
        self._check(body.uses_allowed, body.expiry_time)
        token = RegistrationToken(text, body.uses_allowed, 0, body.expiry_time)
        if not await self._db.write(lambda txn: self._store.add_token(txn, token)):
            raise InvalidParam("There is a token of that text already.")
        return Response(_shown(token))

    async def get_token(self, request: Request) -> Response:
        return Response(_shown(await self._get(request.path_params["token"])))

    async def update_token(self, request: Request) -> Response:
        body = parse_body(request, _UpdateBody)
        token = await self._get(request.path_params["token"])
        uses = token.uses_allowed if body.uses_allowed is msgspec.UNSET else body.uses_allowed
        expiry = token.expires_ts if body.expiry_time is msgspec.UNSET else body.expiry_time
        self._check(uses, None if body.expiry_time is msgspec.UNSET else body.expiry_time)

        async def write(txn: Transaction) -> bool:
            return await self._store.set_limits(txn, token.token, uses, expiry)

        await self._db.write(write)
        return Response(_shown(await self._get(token.token)))

    async def delete_token(self, request: Request) -> Response:
        token = request.path_params["token"]
        if not await self._db.write(lambda txn: self._store.remove_token(txn, token)):
            raise NotFound(f"No such registration token: {token[:64]}")
        return Response()

    async def _get(self, text: str) -> RegistrationToken:
        token = await self._store.find_token(text)
        if token is None:
            raise NotFound(f"No such registration token: {text[:64]}")
        return token

    def _check(self, uses: int | None, expiry: int | None) -> None:
        if uses is not None and uses < 0:
            raise InvalidParam("'uses_allowed' must be null or at least 0.")
        if expiry is not None and expiry < self._now_ms():
            raise InvalidParam("'expiry_time' must not lie in the past.")


def _shown(token: RegistrationToken) -> dict[str, Any]:
    # A use is counted together with the account that it makes, so none is ever pending.
    return {
        "token": token.token,
        "uses_allowed": token.uses_allowed,
        "pending": 0,
        "completed": token.completed,
        "expiry_time": token.expires_ts,
    }
