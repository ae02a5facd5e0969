"""Signing and checking JSON objects and events, and the one function that finishes an event of ours.

Spec: appendices, "Signing JSON"; Server-Server API, "Signing Events".
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import nacl.bindings
import nacl.exceptions
from signedjson.types import SigningKey, VerifyKey
from unpaddedbase64 import decode_base64

from homeserver.protocol import canonical_json
from homeserver.protocol.errors import Forbidden
from homeserver.protocol.event_format import check_members, check_size
from homeserver.protocol.events import Event
from homeserver.protocol.hashes import base64_of, event_id_from_reference, reference_bytes
from homeserver.protocol.identifiers import ServerName, domain_of
from homeserver.protocol.redaction import redact
from homeserver.protocol.room_versions import RoomVersion

_UNSIGNED = frozenset({"signatures", "unsigned"})


class InvalidSignature(Forbidden):
    """An object is not signed by whom it should be."""


def key_id_of(key: SigningKey | VerifyKey) -> str:
    """The signing key identifier: `ed25519:version`."""
    return f"{key.alg}:{key.version}"


def sign(obj: dict[str, Any], server_name: str, key: SigningKey) -> dict[str, Any]:
    """A copy of `obj` with our signature added to `signatures`; signatures of others and `unsigned` are kept."""
    return _with_signature(obj, server_name, key, _signature(_signed_bytes(obj), key))


def verify(obj: dict[str, Any], server_name: str, key: VerifyKey) -> None:
    """Check that `obj` carries a valid signature of `server_name` by `key`. Raises InvalidSignature."""
    _verify_bytes(obj, _signed_bytes(obj), server_name, key)


def sign_event(pdu: dict[str, Any], version: RoomVersion, server_name: str, key: SigningKey) -> dict[str, Any]:
    """A copy of an event that already has its hashes, with our signature added: for join-authorising servers.

    "The event object is then redacted, following the redaction algorithm. Finally it is signed as described in Signing
    JSON ... The signature is then copied back to the original event object." Never call it on what others drafted.
    """
    return _with_signature(pdu, server_name, key, _signature(reference_bytes(pdu, version), key))


def verify_event(
    pdu: dict[str, Any], version: RoomVersion, server_name: str, key: VerifyKey, reference: bytes | None = None
) -> None:
    """Check that the redacted form of an event is signed by `server_name` with `key`. Raises InvalidSignature.

    `reference`: the event's `reference_bytes`, where they are at hand.
    """
    _verify_bytes(pdu, reference or reference_bytes(pdu, version), server_name, key)


def required_signers(event: Event) -> frozenset[ServerName]:
    """The servers whose valid signature an event must carry to be taken at all. Raises nothing.

    "Events must be signed by the server denoted by the `sender` property", except third-party invites, which another
    server may send; "room versions 1 and 2 also require that a signature is present from the domain in the `event_id`";
    since v8, joins also by the server of `join_authorised_via_users_server`.
    """
    signers = {domain_of(event.sender)}
    content = event.content
    is_member = event.type == "m.room.member"
    if is_member and content.get("membership") == "invite" and "third_party_invite" in content:
        signers.clear()
    if event.room_version.event_id_format == "explicit":
        signers.add(domain_of(event.event_id))
    if is_member and event.room_version.restricted:
        authoriser = content.get("join_authorised_via_users_server")
        if isinstance(authoriser, str) and domain_of(authoriser):
            signers.add(domain_of(authoriser))
    return frozenset(signers)


def seal_event(draft: dict[str, Any], version: RoomVersion, server_name: str, key: SigningKey) -> Event:
    """The finished event of a draft made of our own fields: hashed, signed, named. `draft` is left as it is.

    Encodes twice: once for the content hash, and once the bytes that both the signature and the event id cover.
    `draft` has no `hashes`, `signatures` or `unsigned`. Raises BadJson for what canonical JSON cannot hold, in every
    room version (the older ones tolerate what others sent, not that we send it), and for a malformed event; TooLarge
    for one that is too large. What this returns is an event that every server can take.
    """
    canonical_json.check(draft)
    encode = canonical_json.encode_checked
    pdu = {**draft, "hashes": {"sha256": base64_of(sha256(encode(draft)).digest())}}
    reference = encode(redact(pdu, version))
    pdu["signatures"] = {server_name: {key_id_of(key): _signature(reference, key)}}
    check_members(pdu, version)
    check_size(encode(pdu))
    if version.event_id_format == "explicit":
        return Event(pdu, version)
    return Event(pdu, version, event_id_from_reference(reference, version))


def _signed_bytes(obj: dict[str, Any]) -> bytes:
    return canonical_json.encode({name: value for name, value in obj.items() if name not in _UNSIGNED})


def _signature(message: bytes, key: SigningKey) -> str:
    # crypto_sign puts the signature, always 64 bytes, before the message.
    signed = nacl.bindings.crypto_sign(message, key._signing_key)  # type: ignore[attr-defined]
    return base64_of(signed[:64])


def _with_signature(obj: dict[str, Any], server_name: str, key: SigningKey, signature: str) -> dict[str, Any]:
    signatures = dict(obj.get("signatures") or {})
    signatures[server_name] = {**signatures.get(server_name, {}), key_id_of(key): signature}
    return {**obj, "signatures": signatures}


def _verify_bytes(obj: dict[str, Any], message: bytes, server_name: str, key: VerifyKey) -> None:
    key_id = key_id_of(key)
    signatures = obj.get("signatures")
    by_server = signatures.get(server_name) if isinstance(signatures, dict) else None
    signature = by_server.get(key_id) if isinstance(by_server, dict) else None
    if not isinstance(signature, str):
        raise InvalidSignature(f"There is no signature of {server_name} by the key {key_id}")
    try:
        key.verify(message, decode_base64(signature))
    except (ValueError, nacl.exceptions.CryptoError) as error:
        raise InvalidSignature(f"The signature of {server_name} by the key {key_id} is not valid") from error
