"""Pushers: where a user's notifications go. Spec: Client-Server API, `/pushers/set`.

MSC3881 adds switching a pusher off for a while (`org.matrix.msc3881.enabled`), also from another device of the user.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from homeserver.clock import Clock
from homeserver.protocol.errors import InvalidParam, MissingParam, TooLarge
from homeserver.storage.database import Database, Transaction
from homeserver.storage.pushers import Pusher, PusherStore
from homeserver.users.hooks import UserHooks
from homeserver.users.requester import Requester

MAXIMUM_PUSHKEY_BYTES = 512
MAXIMUM_APP_ID_LENGTH = 64
MAXIMUM_PUSHERS = 100
HTTP: Final = "http"
EMAIL: Final = "email"
EMAIL_APP_ID: Final = "m.email"
ENABLED: Final = "org.matrix.msc3881.enabled"
DEVICE_ID: Final = "org.matrix.msc3881.device_id"
_MAXIMUM_DATA_BYTES = 16 * 1024
_TEXTS = ("app_display_name", "device_display_name", "lang")


class Pushers:
    """`trusted_gateways`: origins (`http://10.0.0.5:5000`) that the operator vouches for, so that they need not be
    https; `allows_http`: none needs to be, for tests (row C04)."""

    def __init__(
        self,
        db: Database,
        store: PusherStore,
        hooks: UserHooks,
        clock: Clock,
        *,
        allows_http: bool,
        trusted_gateways: Collection[str] = (),
    ) -> None:
        self._db = db
        self._store = store
        self._hooks = hooks
        self._clock = clock
        self._schemes = ("http", "https") if allows_http else ("https",)
        self._trusted = frozenset(trusted_gateways)

    async def list_pushers(self, user_id: str) -> list[dict[str, Any]]:
        """As clients see them."""
        return [_members(pusher) for pusher in await self._store.list_pushers(user_id)]

    async def set_pusher(self, requester: Requester, body: Mapping[str, Any], *, append: bool) -> None:
        """Add or update one. Raises InvalidParam, MissingParam, TooLarge."""
        pusher = await self._parse(requester, body)

        async def write(txn: Transaction) -> None:
            wanted = replace(pusher, position=txn.next_position())
            existing = await self._store.find_pusher(txn, pusher.user_id, pusher.app_id, pusher.pushkey)
            told = {pusher.user_id}
            if existing is None:
                if await self._store.count_pushers(txn, pusher.user_id) >= MAXIMUM_PUSHERS:
                    raise TooLarge(f"A user has at most {MAXIMUM_PUSHERS} pushers.")
            elif existing.kind == wanted.kind:
                # It keeps what waits for it, and the device that it is of: another one may switch it off (MSC3881).
                since = existing.position if existing.enabled else wanted.position
                wanted = replace(wanted, position=since, device_id=existing.device_id)
                if existing.data != wanted.data:
                    await self._store.forget_failures(txn, pusher.user_id, pusher.app_id, pusher.pushkey)
            else:
                await self._store.remove_pusher(txn, pusher.user_id, pusher.app_id, pusher.pushkey)
            if not append:
                told.update(
                    await self._store.remove_pushers_of_others(txn, pusher.user_id, pusher.app_id, pusher.pushkey)
                )
            await self._store.set_pusher(txn, wanted)
            for user_id in told:
                self._announce(txn, user_id)

        await self._db.write(write)

    async def remove_pusher(self, requester: Requester, app_id: str, pushkey: str) -> None:
        """Also fine when it is not there."""
        await self.remove_rejected(requester.user_id, app_id, pushkey)

    async def remove_rejected(self, user_id: str, app_id: str, pushkey: str) -> None:
        """Without anybody's asking: its gateway, or the reader of its e-mails, wants no more."""

        async def write(txn: Transaction) -> None:
            await self._store.remove_pusher(txn, user_id, app_id, pushkey)
            self._announce(txn, user_id)

        await self._db.write(write)

    def _announce(self, txn: Transaction, user_id: str) -> None:
        for pushers_changed in self._hooks.pushers_changed:
            txn.on_commit(lambda told=pushers_changed: told(user_id))  # type: ignore[misc]

    async def _parse(self, requester: Requester, body: Mapping[str, Any]) -> Pusher:
        texts = {name: _text(body, name) for name in _TEXTS}
        app_id, pushkey = _text(body, "app_id"), _text(body, "pushkey")
        if len(app_id) > MAXIMUM_APP_ID_LENGTH:
            raise InvalidParam(f"'app_id' has at most {MAXIMUM_APP_ID_LENGTH} characters.")
        if len(pushkey.encode("utf-8", "surrogatepass")) > MAXIMUM_PUSHKEY_BYTES:
            raise InvalidParam(f"'pushkey' has at most {MAXIMUM_PUSHKEY_BYTES} bytes.")
        kind, data = body.get("kind"), body.get("data")
        if kind == EMAIL:
            data = {} if data is None else data
            pushkey = await self._own_address(requester.user_id, app_id, pushkey)
        elif kind != HTTP:
            raise InvalidParam("'kind' must be 'http' or 'email', or null to remove the pusher.")
        if not isinstance(data, dict):
            raise MissingParam("'data' must be an object, for 'http' with the 'url' of the push gateway.")
        if kind == HTTP:
            self._check_url(data.get("url"))
        encoded = msgspec.json.encode(data)
        if len(encoded) > _MAXIMUM_DATA_BYTES:
            raise TooLarge(f"'data' has at most {_MAXIMUM_DATA_BYTES} bytes.")
        profile_tag = body.get("profile_tag", "")
        if not isinstance(profile_tag, str) or len(profile_tag) > 32:
            raise InvalidParam("'profile_tag' must be a string of at most 32 characters.")
        enabled = body.get("enabled", body.get(ENABLED, True))
        if not isinstance(enabled, bool):
            raise InvalidParam("'enabled' must be true or false.")
        return Pusher(
            user_id=requester.user_id,
            app_id=app_id,
            pushkey=pushkey,
            kind=kind,
            profile_tag=profile_tag,
            data=encoded.decode(),
            # A mailbox is nobody's device: logging out there does not end the e-mails.
            device_id=requester.device_id or "" if kind == HTTP else "",
            position=0,
            updated_ts=self._clock.now_ms(),
            enabled=enabled,
            **texts,
        )

    async def _own_address(self, user_id: str, app_id: str, pushkey: str) -> str:
        """Spec, of `app_id`: "If the kind is "email", this is "m.email"."

        The address must be a verified one of the user's: nobody has others' mailboxes filled."""
        if self._hooks.list_emails is None:
            raise InvalidParam("This server sends no e-mails.")
        if app_id != EMAIL_APP_ID:
            raise InvalidParam(f"The 'app_id' of e-mails is '{EMAIL_APP_ID}'.")
        wanted = pushkey.strip().casefold()
        for address in await self._hooks.list_emails(user_id):
            if address.casefold() == wanted:
                return address
        raise InvalidParam("'pushkey' must be an e-mail address that was added to the account.")

    def _check_url(self, url: Any) -> None:
        """ "The URL MUST be an HTTPS URL with a path of /_matrix/push/v1/notify"."""
        if not isinstance(url, str) or len(url) > 2048:
            raise MissingParam("'data.url' must be the URL of the push gateway.")
        try:
            parts = urlsplit(url)
            host = parts.hostname
            _ = parts.port
        except ValueError:
            raise InvalidParam("'data.url' is not a URL.") from None
        allowed = parts.scheme in self._schemes or f"{parts.scheme}://{parts.netloc}" in self._trusted
        if not allowed or not host or "@" in parts.netloc or parts.path != "/_matrix/push/v1/notify":
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
        ENABLED: pusher.enabled,
        DEVICE_ID: pusher.device_id or None,
    }
