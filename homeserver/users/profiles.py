"""Profiles: display name, avatar, time zone and fields of anybody's making (v1.16).

Spec: Client-Server API, "Profiles", `PUT /profile/{userId}/{keyName}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from homeserver.protocol import canonical_json
from homeserver.protocol.errors import (
    Forbidden,
    GuestAccessForbidden,
    InvalidParam,
    KeyTooLarge,
    NotFound,
    ProfileTooLarge,
)
from homeserver.protocol.identifiers import ServerName, domain_of, parse_user_id
from homeserver.storage.database import Database, Transaction
from homeserver.storage.profiles import ProfileStore
from homeserver.storage.user_directory import UserDirectoryStore
from homeserver.users.hooks import UserHooks
from homeserver.users.requester import Requester

MAXIMUM_PROFILE_BYTES = 64 * 1024
MAXIMUM_KEY_BYTES = 255
MAXIMUM_NAME_LENGTH = 256
MAXIMUM_URL_LENGTH = 1000

_FIELD = re.compile(r"(avatar_url|displayname|[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+)")
_MXC = re.compile(r"mxc://[^/\s]+/[A-Za-z0-9_-]+")
_MISSING = object()


class Profiles:
    """Local profiles, and those of other servers through the hook `fetch_profile`."""

    def __init__(
        self,
        db: Database,
        store: ProfileStore,
        directory: UserDirectoryStore,
        server_name: ServerName,
        hooks: UserHooks,
        *,
        for_strangers: bool = True,
    ) -> None:
        """`for_strangers` False: a profile is for those alone who share a room with its user."""
        self.for_strangers = for_strangers
        self._db = db
        self._store = store
        self._directory = directory
        self._server_name = server_name
        self._hooks = hooks

    async def find_profile(self, user_id: str) -> dict[str, Any]:
        """The profile of a local user; {} for whoever has none. For member events."""
        return await self._store.find_fields(user_id) or {}

    async def get_profile(self, user_id: str) -> dict[str, Any]:
        """Anybody's profile. Raises InvalidParam, NotFound."""
        if domain_of(parse_user_id(user_id)) != self._server_name:
            return await self._hooks.fetch_profile(user_id)
        fields = await self._store.find_fields(user_id)
        if fields is None:
            raise NotFound("There is no such user.")
        return fields

    async def check_may_read(self, requester: Requester | None, user_id: str) -> None:
        """Raises Forbidden for strangers, whether there is such a user or not (G09, G12), where profiles are not for
        them. Operators and application services are no strangers."""
        if self.for_strangers:
            return
        if requester is not None:
            if requester.user_id == user_id or requester.is_admin or requester.appservice_id is not None:
                return
            if await self._hooks.acquaintances.share_room_with(requester.user_id, [user_id]):
                return
        raise Forbidden("Profiles of this server can be read by those who share a room with their user.")

    async def get_field(self, user_id: str, field: str) -> Any:
        """One field. Raises NotFound where the user or the field does not exist."""
        value = (await self.get_profile(user_id)).get(field, _MISSING)
        if value is _MISSING:
            raise NotFound("There is no such field in the profile.")
        return value

    async def set_field(self, requester: Requester, user_id: str, field: str, value: Any) -> None:
        """Raises Forbidden, InvalidParam, KeyTooLarge, ProfileTooLarge. An empty name or avatar removes it, as clients
        that know no DELETE do."""
        self._check_may_change(requester, user_id, field)
        if field in ("displayname", "avatar_url") and value in (None, ""):
            value = _MISSING
        else:
            check_value(field, value)
        await self._change(user_id, field, value)

    async def delete_field(self, requester: Requester, user_id: str, field: str) -> None:
        """Also fine when it is not there. Raises Forbidden, InvalidParam, KeyTooLarge."""
        self._check_may_change(requester, user_id, field)
        await self._change(user_id, field, _MISSING)

    def _check_may_change(self, requester: Requester, user_id: str, field: str) -> None:
        check_field_name(field)
        parse_user_id(user_id)
        if user_id != requester.user_id and not (requester.is_admin and domain_of(user_id) == self._server_name):
            raise Forbidden("Only a user's own profile can be changed.")
        if requester.is_guest and field != "displayname":
            raise GuestAccessForbidden("Guests may only change their display name.")
        requester.check_not_suspended()

    async def _change(self, user_id: str, field: str, value: Any) -> None:
        changed = await self._db.write(lambda txn: self._write(txn, user_id, field, value))
        if changed is not None:
            for profile_changed in self._hooks.profile_changed:
                await profile_changed(user_id, field, changed)

    async def _write(self, txn: Transaction, user_id: str, field: str, value: Any) -> Mapping[str, Any] | None:
        """The new profile; None if nothing changes."""
        fields = await self._store.find_fields(user_id, txn)
        if fields is None:
            raise NotFound("There is no such user.")
        if fields.get(field, _MISSING) == value:
            return None
        if value is _MISSING:
            if field not in fields:
                return None
            del fields[field]
        else:
            fields[field] = value
            if len(canonical_json.encode(fields)) > MAXIMUM_PROFILE_BYTES:
                raise ProfileTooLarge(f"A profile has at most {MAXIMUM_PROFILE_BYTES} bytes.")
        await self._store.set_fields(txn, user_id, fields)
        if field in ("displayname", "avatar_url"):
            await self._directory.update_entry(txn, user_id, fields.get("displayname"), fields.get("avatar_url"))
        return fields


def check_field_name(field: str) -> None:
    """Raises KeyTooLarge or InvalidParam."""
    if len(field.encode("utf-8", "surrogatepass")) > MAXIMUM_KEY_BYTES:
        raise KeyTooLarge(f"The name of a profile field has at most {MAXIMUM_KEY_BYTES} bytes.")
    if _FIELD.fullmatch(field) is None:
        raise InvalidParam("A profile field is 'displayname', 'avatar_url' or a namespaced name such as org.example.x.")


def check_value(field: str, value: Any) -> None:
    """Raises InvalidParam for a value that the field cannot have."""
    if field not in ("displayname", "avatar_url", "m.tz"):
        return
    if not isinstance(value, str):
        raise InvalidParam(f"'{field}' must be a string.")
    if field == "displayname" and len(value) > MAXIMUM_NAME_LENGTH:
        raise InvalidParam(f"A display name has at most {MAXIMUM_NAME_LENGTH} characters.")
    if field == "avatar_url" and (len(value) > MAXIMUM_URL_LENGTH or _MXC.fullmatch(value) is None):
        raise InvalidParam("'avatar_url' must be an mxc:// URI.")
    if field == "m.tz" and len(value) > MAXIMUM_KEY_BYTES:
        raise InvalidParam("'m.tz' must be the name of a time zone.")
