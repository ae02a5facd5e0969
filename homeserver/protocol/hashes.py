"""Content hashes, reference hashes and the event ids made of them.

Spec: Server-Server API, "Calculating the content hash for an event" and "Calculating the reference hash for an event".
"""

from __future__ import annotations

import base64
import binascii
import hmac
from hashlib import sha256
from typing import Any

from unpaddedbase64 import decode_base64

from homeserver.protocol.canonical_json import encode, encode_checked
from homeserver.protocol.errors import BadJson
from homeserver.protocol.identifiers import EventId
from homeserver.protocol.redaction import redact
from homeserver.protocol.room_versions import RoomVersion

_UNHASHED = frozenset({"unsigned", "signatures", "hashes"})


def content_hash(pdu: dict[str, Any]) -> str:
    """The SHA-256 over the whole event, in unpadded Base64 as it stands in `hashes.sha256`.

    "First, any existing `unsigned`, `signatures`, and `hashes` properties are removed. The resulting object is then
    encoded as Canonical JSON, and the JSON is hashed using SHA-256."
    """
    return base64_of(_content_digest(pdu))


def has_valid_content_hash(pdu: dict[str, Any], *, checked: bool = False) -> bool:
    """Whether `hashes.sha256` is the content hash; if not, the event is to be redacted before it is used (A18).

    `checked`: the event has passed `canonical_json.check`, so that it is encoded faster.
    """
    hashes = pdu.get("hashes")
    claimed = hashes.get("sha256") if isinstance(hashes, dict) else None
    if not isinstance(claimed, str):
        return False
    try:
        return hmac.compare_digest(decode_base64(claimed), _content_digest(pdu, checked=checked))
    except (binascii.Error, ValueError, BadJson):
        return False


def reference_hash(pdu: dict[str, Any], version: RoomVersion) -> str:
    """The SHA-256 over the redacted event, in unpadded Base64: it names the event (since v3) or vouches for it."""
    return base64_of(sha256(reference_bytes(pdu, version)).digest())


def event_id_of(pdu: dict[str, Any], version: RoomVersion) -> EventId:
    """The id of an event: what it says in v1 and v2, and its reference hash since. Raises BadJson when it has none."""
    if version.event_id_format == "explicit":
        event_id = pdu.get("event_id")
        if not isinstance(event_id, str):
            raise BadJson(f"An event of room version {version.identifier} must have a string as event_id")
        return EventId(event_id)
    return event_id_from_reference(reference_bytes(pdu, version), version)


def reference_bytes(pdu: dict[str, Any], version: RoomVersion, *, checked: bool = False) -> bytes:
    """The bytes that both the reference hash and the signatures of an event cover.

    "1. The event is put through the redaction algorithm. 2. The `signatures` and `unsigned` properties are removed from
    the event, if present. 3. The event is converted into Canonical JSON."

    `checked`: as in `has_valid_content_hash`.
    """
    redacted = redact(pdu, version)
    redacted.pop("signatures", None)
    return encode_checked(redacted) if checked else encode(redacted)


def event_id_from_reference(reference: bytes, version: RoomVersion) -> EventId:
    """The event id of the event with these reference bytes (v3 and later)."""
    digest = sha256(reference).digest()
    if version.event_id_format == "base64":
        return EventId("$" + base64_of(digest))
    return EventId("$" + base64.urlsafe_b64encode(digest)[:-1].decode("ascii"))


def base64_of(digest: bytes) -> str:
    """Unpadded Base64."""
    return binascii.b2a_base64(digest, newline=False).rstrip(b"=").decode("ascii")


def _content_digest(pdu: dict[str, Any], *, checked: bool = False) -> bytes:
    hashed = {key: value for key, value in pdu.items() if key not in _UNHASHED}
    return sha256(encode_checked(hashed) if checked else encode(hashed)).digest()
