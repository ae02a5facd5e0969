"""The redaction algorithm: an event stripped to what its room version protects.

Hashes and signatures are computed over the result, so it decides which parts of an event can never be taken away.
Spec: "Redactions" on the page of each room version.
"""

from __future__ import annotations

from typing import Any

from homeserver.protocol.room_versions import RoomVersion


def redact(pdu: dict[str, Any], version: RoomVersion) -> dict[str, Any]:
    """A redacted copy of `pdu`, which is left as it is. Members that are kept are shared with it, not copied.

    "The server must strip off any keys not in the following list"; "the content object must also be stripped of all
    keys, unless it is one of the following event types". `unsigned` is always gone. Idempotent.
    """
    rules = version.redaction
    event_keys = rules.event_keys
    redacted = {key: value for key, value in pdu.items() if key in event_keys}
    content = pdu.get("content")
    event_type = pdu.get("type")
    if not isinstance(content, dict) or not isinstance(event_type, str):
        redacted["content"] = {}
        return redacted
    content_keys = rules.content_keys.get(event_type, _NOTHING)
    if content_keys is None:
        return redacted
    kept = {key: value for key, value in content.items() if key in content_keys} if content_keys else {}
    if rules.keeps_signed_third_party_invite and event_type == "m.room.member":
        # "Additionally, it allows the `signed` key of the `third_party_invite` key." (v11)
        invite = content.get("third_party_invite")
        if isinstance(invite, dict) and "signed" in invite:
            kept["third_party_invite"] = {"signed": invite["signed"]}
    redacted["content"] = kept
    return redacted


_NOTHING: frozenset[str] = frozenset()
