"""Who asks for keys gets those that are published, with the signatures that may be seen.

"To avoid leaking of social graphs, servers will only allow users to see" signatures that the owner of a key made, and
those that they made themselves. Spec: Client-Server API, "Key and signature security".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from homeserver.encryption.remote import RemoteKeys
from homeserver.protocol.errors import InvalidParam, TooLarge
from homeserver.protocol.identifiers import domain_of, is_user_id
from homeserver.storage.cross_signing import CrossSigningStore, KeySignature
from homeserver.storage.device_keys import DeviceKeyStore

MAXIMUM_USERS: Final = 20_000
_MEMBER = {"master": "master_keys", "self_signing": "self_signing_keys", "user_signing": "user_signing_keys"}

Wanted = Mapping[str, Sequence[str]]
"""{user id: [device id, …], or [] for all}"""


class KeyQueries:
    """Queries."""

    def __init__(
        self, device_keys: DeviceKeyStore, cross_signing: CrossSigningStore, remote: RemoteKeys, server_name: str
    ) -> None:
        self._device_keys = device_keys
        self._cross_signing = cross_signing
        self._remote = remote
        self._server_name = server_name

    async def query(self, asker: str, wanted: Wanted, timeout_ms: int) -> dict[str, Any]:
        """The body of the answer to a client. Raises InvalidParam, TooLarge."""
        if len(wanted) > MAXIMUM_USERS:
            raise TooLarge(f"The keys of at most {MAXIMUM_USERS} users can be asked for at once.")
        for user_id in wanted:
            if not is_user_id(user_id):
                raise InvalidParam("The keys of 'device_keys' must be user ids.")
        body = await self.query_local(asker, wanted)
        remote = {user_id: each for user_id, each in wanted.items() if domain_of(user_id) != self._server_name}
        if remote:
            theirs, body["failures"] = await self._remote.query_keys(remote, timeout_ms)
            await self._add_remote(asker, body, theirs)
        return body

    async def query_local(self, asker: str | None, wanted: Wanted) -> dict[str, Any]:
        """Of users of this server alone (row B22), also for other servers, whose `asker` is None: they see neither
        user-signing keys, nor what is not the owner's, nor the names of devices."""
        local = [user_id for user_id in wanted if domain_of(user_id) == self._server_name]
        body: dict[str, Any] = {
            "device_keys": {user_id: {} for user_id in local},
            "master_keys": {},
            "self_signing_keys": {},
            "user_signing_keys": {},
            "failures": {},
        }
        signatures = _by_target(await self._cross_signing.list_signatures(local, signer=asker))
        for device in await self._device_keys.list_keys(local):
            devices = wanted[device.user_id]
            if devices and device.device_id not in devices:
                continue
            keys = msgspec.json.decode(device.keys)
            _add_signatures(keys, signatures.get((device.user_id, device.device_id), ()))
            # What people call their devices is nobody's business on other servers (G11).
            shows_name = asker is not None and device.display_name is not None
            keys["unsigned"] = {"device_display_name": device.display_name} if shows_name else {}
            body["device_keys"][device.user_id][device.device_id] = keys
        for key in await self._cross_signing.list_keys(local):
            if key.usage == "user_signing" and key.user_id != asker:
                continue
            keys = msgspec.json.decode(key.keys)
            _add_signatures(keys, signatures.get((key.user_id, key.public_key), ()))
            body[_MEMBER[key.usage]][key.user_id] = keys
        return body

    async def _add_remote(self, asker: str, body: dict[str, Any], theirs: Mapping[str, Any]) -> None:
        for member in ("device_keys", "master_keys", "self_signing_keys"):
            body[member].update(theirs.get(member, {}))
        masters = theirs.get("master_keys", {})
        signatures = _by_target(await self._cross_signing.list_signatures(list(masters), signer=asker))
        for user_id, key in masters.items():
            for public_key in key.get("keys", {}).values():
                _add_signatures(key, signatures.get((user_id, public_key), ()))


def _by_target(signatures: Sequence[KeySignature]) -> dict[tuple[str, str], list[KeySignature]]:
    found: dict[tuple[str, str], list[KeySignature]] = {}
    for each in signatures:
        found.setdefault((each.target_user_id, each.target_key_id), []).append(each)
    return found


def _add_signatures(keys: dict[str, Any], signatures: Sequence[KeySignature]) -> None:
    for each in signatures:
        by_user = keys.setdefault("signatures", {}).setdefault(each.signer_user_id, {})
        by_user[each.signer_key_id] = each.signature
