"""What a PDU must look like to be an event at all: fields, types, lengths and sizes, by room version.

This is the first of the "checks performed on receipt of a PDU": what fails it is dropped, as if it had never come. Our
own events pass through it too. Spec: the "Event format" of each room version; Client-Server API, "Size limits".
"""

from __future__ import annotations

import re
from typing import Any, Final

from homeserver.protocol import canonical_json
from homeserver.protocol.errors import BadJson, TooLarge
from homeserver.protocol.events import Event
from homeserver.protocol.hashes import event_id_from_reference, has_valid_content_hash, reference_bytes
from homeserver.protocol.identifiers import MAX_ID_BYTES, is_hash_id, is_server_name, is_user_id
from homeserver.protocol.redaction import redact
from homeserver.protocol.room_versions import RoomVersion

MAX_EVENT_BYTES: Final = 65536
"""Of the whole event with its hashes and signatures, without `unsigned`, as canonical JSON."""
MAX_PREV_EVENTS: Final = 20
MAX_AUTH_EVENTS: Final = 10
MAX_DEPTH: Final = canonical_json.MAX_INTEGER
"""Versions 1 to 5 speak of 2^63-1, but peers refuse what is beyond 2^53-1 and rooms were ruined by it (A10)."""

_BASE64_ID = re.compile(r"\$[A-Za-z0-9+/]{43}")


def parse_event(pdu: Any, version: RoomVersion) -> Event:
    """The event of a PDU that another server sent; its id is computed here, whatever the sender calls it.

    "Passes hash checks, otherwise it is redacted before being processed further." So where the content hash is wrong
    the result is the redacted event, which has the same id (A18). Signatures are for the caller to check, on the
    result. Raises BadJson or TooLarge, and nothing else whatever `pdu` is.
    """
    return parse_signed_event(pdu, version)[0]


def parse_signed_event(pdu: Any, version: RoomVersion) -> tuple[Event, bytes]:
    """`parse_event`, with the bytes that the signatures of the event cover, which its id is made of too."""
    if not isinstance(pdu, dict):
        raise BadJson("An event must be a JSON object")
    if "unsigned" in pdu:
        pdu = {key: value for key, value in pdu.items() if key != "unsigned"}
    check_format(pdu, version)
    checked = version.strict_canonical_json
    if not has_valid_content_hash(pdu, checked=checked):
        pdu = redact(pdu, version)
    reference = reference_bytes(pdu, version, checked=checked)
    if version.event_id_format == "explicit":
        return Event(pdu, version), reference
    return Event(pdu, version, event_id_from_reference(reference, version)), reference


def check_format(pdu: dict[str, Any], version: RoomVersion) -> None:
    """Check a signed PDU (without `unsigned`) wholly: JSON, size, members. Raises BadJson or TooLarge."""
    if version.strict_canonical_json:
        canonical_json.check(pdu)
        check_size(canonical_json.encode_checked(pdu))
    else:
        canonical_json.check_legacy(pdu)
        check_size(canonical_json.encode(pdu))
    check_members(pdu, version)


def check_size(encoded: bytes) -> None:
    """Check the length of an event as canonical JSON. Raises TooLarge.

    "The complete event MUST NOT be larger than 65536 bytes, when formatted with the federation event format, including
    any signatures, and encoded as Canonical JSON."
    """
    if len(encoded) > MAX_EVENT_BYTES:
        raise TooLarge(f"The event has {len(encoded)} bytes; at most {MAX_EVENT_BYTES} are allowed")


def check_members(pdu: dict[str, Any], version: RoomVersion) -> None:
    """Check the members of a PDU, not the JSON in its content. Raises BadJson or TooLarge."""
    sender = _text(pdu, "sender")
    if not is_user_id(sender):
        raise BadJson("The sender of an event must be a user id")
    event_type = _text(pdu, "type")
    if "state_key" in pdu:
        _text(pdu, "state_key")
    content = pdu.get("content")
    if type(content) is not dict:
        raise BadJson("The content of an event must be an object")
    depth = pdu.get("depth")
    if type(depth) is not int or not 0 <= depth <= MAX_DEPTH:
        raise BadJson("The depth of an event must be an integer from 0 to (2^53)-1")
    timestamp = pdu.get("origin_server_ts")
    if type(timestamp) is not int or abs(timestamp) > canonical_json.MAX_INTEGER:
        raise BadJson("The origin_server_ts of an event must be an integer of at most (2^53)-1")
    if not version.redacts_in_content and "redacts" in pdu:
        _text(pdu, "redacts")
    _check_room_id(pdu, event_type, version)
    _check_references(pdu, "prev_events", MAX_PREV_EVENTS, version)
    _check_references(pdu, "auth_events", MAX_AUTH_EVENTS, version)
    if version.has_event_ids_in_pdus:
        _check_explicit_id(_text(pdu, "event_id"))
    if type(pdu.get("hashes")) is not dict:
        raise BadJson("The hashes of an event must be an object")
    _check_signatures(pdu.get("signatures"))


def _text(pdu: dict[str, Any], name: str) -> str:
    """A string of at most 255 bytes. NUL is refused where storage keeps the member in a column of its own (D06)."""
    value = pdu.get(name)
    if type(value) is not str:
        raise BadJson(f"An event must have a string as {name}")
    if len(value) > MAX_ID_BYTES or (not value.isascii() and len(value.encode("utf-8", "replace")) > MAX_ID_BYTES):
        raise TooLarge(f"The {name} of an event may have at most {MAX_ID_BYTES} bytes")
    if "\0" in value:
        raise BadJson(f"The {name} of an event may not hold the character U+0000")
    return value


def _check_room_id(pdu: dict[str, Any], event_type: str, version: RoomVersion) -> None:
    if version.room_id_is_create_hash and event_type == "m.room.create" and "room_id" not in pdu:
        return
    room_id = _text(pdu, "room_id")
    if version.room_id_is_create_hash:
        if room_id[:1] != "!" or not is_hash_id(room_id):
            raise BadJson("The room_id of an event must be ! and the hash of the room's create event")
    elif room_id[:1] != "!" or not is_server_name(room_id.partition(":")[2]):
        raise BadJson("The room_id of an event must have the form !opaque:domain")


def _check_references(pdu: dict[str, Any], name: str, most: int, version: RoomVersion) -> None:
    references = pdu.get(name)
    if type(references) is not list:
        raise BadJson(f"The {name} of an event must be a list")
    if len(references) > most:
        raise BadJson(f"An event may have at most {most} {name}")
    for reference in references:
        if version.event_id_format == "urlsafe":
            valid = type(reference) is str and reference[:1] == "$" and is_hash_id(reference)
        elif version.event_id_format == "base64":
            valid = type(reference) is str and _BASE64_ID.fullmatch(reference) is not None
        else:
            valid = _is_pair(reference)
        if not valid:
            raise BadJson(
                f"The {name} of an event hold something that names no event of room version {version.identifier}"
            )


def _is_pair(reference: object) -> bool:
    """v1 and v2: [event id, {algorithm: hash}]."""
    if type(reference) is not list or len(reference) != 2:
        return False
    event_id, hashes = reference
    if type(event_id) is not str or type(hashes) is not dict:
        return False
    _check_explicit_id(event_id)
    return all(type(value) is str for value in hashes.values())


def _check_explicit_id(event_id: str) -> None:
    if event_id[:1] != "$" or len(event_id.encode("utf-8", "replace")) > MAX_ID_BYTES or "\0" in event_id:
        raise BadJson("An event id must begin with $ and have at most 255 bytes")
    if not is_server_name(event_id.partition(":")[2]):
        raise BadJson("An event id of room versions 1 and 2 must have the form $opaque:domain")


def _check_signatures(signatures: object) -> None:
    if type(signatures) is not dict:
        raise BadJson("The signatures of an event must be an object")
    for by_key in signatures.values():
        if type(by_key) is not dict or not all(type(signature) is str for signature in by_key.values()):
            raise BadJson("The signatures of an event must be, by server and by key, strings")
