"""Pushers: where a user's notifications go. Spec: Client-Server API, `/pushers/set`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import msgspec

from homeserver.protocol.errors import InvalidParam, MissingParam, TooLarge
from homeserver.storage.database import Database, Transaction
from homeserver.storage.pushers import Pusher, PusherStore
from homeserver.users.hooks import UserHooks
from homeserver.users.requester import Requester

MAXIMUM_PUSHKEY_BYTES = 512
MAXIMUM_APP_ID_LENGTH = 64
MAXIMUM_PUSHERS = 100
_MAXIMUM_DATA_BYTES = 16 * 1024
_TEXTS = ("app_display_name", "device_display_name", "lang")


class Pushers:
    """`allows_http`: gateways need not be https, for tests and private networks (row C04)."""

    def __init__(self, db: Database, store: PusherStore, hooks: UserHooks, *, allows_http: bool) -> None:
        self._db = db
        self._store = store
        self._hooks = hooks
        self._schemes = ("http", "https") if allows_http else ("https",)

    async def list_pushers(self, user_id: str) -> list[dict[str, Any]]:
        """As clients see them."""
        return [_members(pusher) for pusher in await self._store.list_pushers(user_id)]

    async def set_pusher(self, requester: Requester, body: Mapping[str, Any], *, append: bool) -> None:
        """Add or update one. Raises InvalidParam, MissingParam, TooLarge."""
        pusher = self._parse(requester, body)

        async def write(txn: Transaction) -> None:
            if await self._store.count_pushers(txn, pusher.user_id) >= MAXIMUM_PUSHERS:
                raise TooLarge(f"A user has at most {MAXIMUM_PUSHERS} pushers.")
            if not append:
                await self._store.remove_pushers_of_others(txn, pusher.user_id, pusher.app_id, pusher.pushkey)
            await self._store.set_pusher(txn, replace(pusher, position=txn.next_position()))
            self._announce(txn, pusher.user_id)

        await self._db.write(write)

    async def remove_pusher(self, requester: Requester, app_id: str, pushkey: str) -> None:
        """Also fine when it is not there."""

        async def write(txn: Transaction) -> None:
            await self._store.remove_pusher(txn, requester.user_id, app_id, pushkey)
            self._announce(txn, requester.user_id)

        await self._db.write(write)

    def _announce(self, txn: Transaction, user_id: str) -> None:
        for pushers_changed in self._hooks.pushers_changed:
            txn.on_commit(lambda told=pushers_changed: told(user_id))  # type: ignore[misc]

    def _parse(self, requester: Requester, body: Mapping[str, Any]) -> Pusher:
        texts = {name: _text(body, name) for name in _TEXTS}
        app_id, pushkey = _text(body, "app_id"), _text(body, "pushkey")
        if len(app_id) > MAXIMUM_APP_ID_LENGTH:
            raise InvalidParam(f"'app_id' has at most {MAXIMUM_APP_ID_LENGTH} characters.")
        if len(pushkey.encode("utf-8", "surrogatepass")) > MAXIMUM_PUSHKEY_BYTES:
            raise InvalidParam(f"'pushkey' has at most {MAXIMUM_PUSHKEY_BYTES} bytes.")
        if body.get("kind") != "http":
            raise InvalidParam("'kind' must be 'http', or null to remove the pusher; this server sends no e-mails.")
        data = body.get("data")
        if not isinstance(data, dict):
            raise MissingParam("'data' must be an object with the 'url' of the push gateway.")
        self._check_url(data.get("url"))
        encoded = msgspec.json.encode(data)
        if len(encoded) > _MAXIMUM_DATA_BYTES:
            raise TooLarge(f"'data' has at most {_MAXIMUM_DATA_BYTES} bytes.")
        profile_tag = body.get("profile_tag", "")
        if not isinstance(profile_tag, str) or len(profile_tag) > 32:
            raise InvalidParam("'profile_tag' must be a string of at most 32 characters.")
        return Pusher(
            user_id=requester.user_id,
            app_id=app_id,
            pushkey=pushkey,
            kind="http",
            profile_tag=profile_tag,
            data=encoded.decode(),
            device_id=requester.device_id or "",
            position=0,
            **texts,
        )

    def _check_url(self, url: Any) -> None:
        """ "The URL MUST be an HTTPS URL with a path of /_matrix/push/v1/notify"."""
        if not isinstance(url, str) or len(url) > 2048:
            raise MissingParam("'data.url' must be the URL of the push gateway.")
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError:
            raise InvalidParam("'data.url' is not a URL.") from None
        if parts.scheme not in self._schemes or not host or parts.path != "/_matrix/push/v1/notify":
            raise InvalidParam("'data.url' must be an https URL with the path /_matrix/push/v1/notify.")


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        raise MissingParam(f"'{name}' is missing.")
    if not isinstance(value, str) or len(value) > 1024:
        raise InvalidParam(f"'{name}' must be a string of at most 1024 characters.")
    return value


def _members(pusher: Pusher) -> dict[str, Any]:
    return {
        "app_id": pusher.app_id,
        "pushkey": pusher.pushkey,
        "kind": pusher.kind,
        "app_display_name": pusher.app_display_name,
        "device_display_name": pusher.device_display_name,
        "profile_tag": pusher.profile_tag,
        "lang": pusher.lang,
        "data": msgspec.Raw(pusher.data.encode()),
    }
