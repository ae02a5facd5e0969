"""What published keys must look like, whoever sends them (row B23): what passes here can be served to anybody.

Spec: Client-Server API, "Key algorithms", "Uploading keys", "Cross-signing".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from signedjson.key import decode_verify_key_bytes
from unpaddedbase64 import decode_base64

from homeserver.protocol import canonical_json
from homeserver.protocol.errors import BadJson, InvalidKeySignature, InvalidParam, TooLarge
from homeserver.protocol.signatures import InvalidSignature, verify

T = TypeVar("T")

MAXIMUM_DEVICE_KEYS_BYTES: Final = 32 * 1024
MAXIMUM_ONE_TIME_KEY_BYTES: Final = 8 * 1024
_PUBLIC_KEY_BYTES: Final = 32

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Signatures = Annotated[
    dict[Name, Annotated[dict[Name, str], msgspec.Meta(max_length=100)]], msgspec.Meta(max_length=100)
]


class _DeviceKeys(msgspec.Struct):
    user_id: Name
    device_id: Name
    algorithms: Annotated[list[Name], msgspec.Meta(max_length=50)]
    keys: Annotated[dict[Name, str], msgspec.Meta(max_length=50)]
    signatures: Signatures


class _KeyObject(msgspec.Struct):
    key: str
    signatures: Signatures
    fallback: bool = False


class _CrossSigningKey(msgspec.Struct):
    user_id: Name
    usage: Annotated[list[Name], msgspec.Meta(max_length=10)]
    keys: Annotated[dict[Name, str], msgspec.Meta(min_length=1, max_length=1)]
    signatures: Signatures = {}


def parse_device_keys(value: Any, user_id: str, device_id: str) -> str:
    """Identity keys of this very device, as canonical text. Raises BadJson, InvalidParam, TooLarge."""
    keys = _convert(value, _DeviceKeys, "device_keys")
    if keys.user_id != user_id or keys.device_id != device_id:
        raise InvalidParam("The user and the device in 'device_keys' must be those who upload them.")
    for name in keys.keys:
        algorithm, _, of_device = name.partition(":")
        if not algorithm or of_device != device_id:
            raise InvalidParam("Each key in 'device_keys.keys' must be named <algorithm>:<device id>.")
    return _text(_own(value, user_id), MAXIMUM_DEVICE_KEYS_BYTES, "The device's keys")


def parse_one_time_key(name: str, value: Any, user_id: str) -> tuple[str, str, str]:
    """(algorithm, key id, canonical text) of a one-time or fallback key. Raises BadJson, InvalidParam, TooLarge."""
    algorithm, _, key_id = name.partition(":")
    if not algorithm or not key_id or len(name) > 255 or not algorithm.isascii():
        raise InvalidParam("A one-time key must be named <algorithm>:<key id>, in at most 255 characters.")
    if isinstance(value, str):
        return algorithm, key_id, _text(value, MAXIMUM_ONE_TIME_KEY_BYTES, "A one-time key")
    _convert(value, _KeyObject, "one-time key")
    return algorithm, key_id, _text(_own(value, user_id), MAXIMUM_ONE_TIME_KEY_BYTES, "A one-time key")


def parse_cross_signing_key(value: Any, user_id: str, usage: str) -> tuple[str, dict[str, Any]]:
    """(public key, the object with the user's own signatures). Raises BadJson, InvalidParam, TooLarge."""
    key = _convert(value, _CrossSigningKey, f"{usage} key")
    if key.user_id != user_id:
        raise InvalidParam("A cross-signing key must be of the user who uploads it.")
    if usage not in key.usage:
        raise InvalidParam(f"The usage of this key must include {usage!r}.")
    ((name, public_key),) = key.keys.items()
    if name != f"ed25519:{public_key}":
        raise InvalidParam("A cross-signing key must be named ed25519:<public key>.")
    _check_public_key(public_key)
    owned = _own(value, user_id)
    _text(owned, MAXIMUM_DEVICE_KEYS_BYTES, "A cross-signing key")
    return public_key, owned


def check_signature(obj: dict[str, Any], user_id: str, key_id: str, public_key: str) -> None:
    """Whether `obj` is signed by the user's key `ed25519:…`. Raises InvalidKeySignature."""
    try:
        verify(obj, user_id, decode_verify_key_bytes(key_id, decode_base64(public_key)))
    except (ValueError, InvalidSignature) as error:
        raise InvalidKeySignature(f"The signature by the key {key_id[:60]!r} is not valid.") from error


def unsigned_part(obj: Mapping[str, Any]) -> dict[str, Any]:
    """What a signature covers."""
    return {name: value for name, value in obj.items() if name not in ("signatures", "unsigned")}


def _own(value: Mapping[str, Any], user_id: str) -> dict[str, Any]:
    """Without `unsigned`, and without signatures of others, which are uploaded by those who made them."""
    kept = {name: member for name, member in value.items() if name != "unsigned"}
    signatures = value.get("signatures") or {}
    kept["signatures"] = {user_id: signatures[user_id]} if user_id in signatures else {}
    return kept


def _check_public_key(text: str) -> None:
    try:
        fits = len(decode_base64(text)) == _PUBLIC_KEY_BYTES
    except ValueError:
        fits = False
    if not fits:
        raise InvalidParam("A public key must be 32 bytes in unpadded Base64.")


def _convert(value: Any, kind: type[T], what: str) -> T:
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise BadJson(f"The {what} is not right: {error}.") from None


def _text(value: Any, maximum: int, what: str) -> str:
    canonical_json.check(value)
    encoded = canonical_json.encode_checked(value)
    if len(encoded) > maximum:
        raise TooLarge(f"{what} must be at most {maximum} bytes.")
    return encoded.decode()
