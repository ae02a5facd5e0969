"""The rules of authorisation for invites of third parties: somebody known by an e-mail address, say, who has now an id.

They are one numbered group, the same in all room versions: the first rule of "If `membership` is `invite`".
Spec: Server-Server API, "Third-party invites".
"""

from __future__ import annotations

from typing import Any, Final

import nacl.exceptions
import nacl.signing
from unpaddedbase64 import decode_base64

from homeserver.protocol import canonical_json
from homeserver.protocol.authorization_facts import Facts, Group, otherwise_reject, reject
from homeserver.protocol.errors import BadJson

MAX_VERIFICATIONS: Final = 100
"""How many pairs of signature and key of a third-party invite are tried: one event may not cost minutes of CPU."""


def _has_third_party_invite(facts: Facts) -> bool:
    # If `content` has a `third_party_invite` property:
    return "third_party_invite" in facts.event.content


def _signed_of(facts: Facts) -> dict[str, Any]:
    invite = facts.event.content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    return signed if isinstance(signed, dict) else {}


def third_party_target_is_not_banned(facts: Facts) -> bool:
    # If *target user* is banned, reject.
    if facts.membership_of(facts.target) == "ban":
        raise reject("The invited user is banned from this room")
    return False


def third_party_invite_has_signed(facts: Facts) -> bool:
    # If `content.third_party_invite` does not have a `signed` property, reject.
    invite = facts.event.content.get("third_party_invite")
    if not isinstance(invite, dict) or not isinstance(invite.get("signed"), dict):
        raise reject("A third-party invite must have an object as `signed`")
    return False


def signed_has_mxid_and_token(facts: Facts) -> bool:
    # If `signed` does not have `mxid` and `token` properties, reject.
    signed = _signed_of(facts)
    if not isinstance(signed.get("mxid"), str) or not isinstance(signed.get("token"), str):
        raise reject("The `signed` of a third-party invite must have strings as `mxid` and `token`")
    return False


def mxid_is_target(facts: Facts) -> bool:
    # If `mxid` does not match `state_key`, reject.
    if _signed_of(facts).get("mxid") != facts.target:
        raise reject("The third-party invite was signed for another user")
    return False


def token_is_known(facts: Facts) -> bool:
    # If there is no `m.room.third_party_invite` event in the current room state with `state_key` matching `token`,
    # reject.
    if ("m.room.third_party_invite", str(_signed_of(facts).get("token"))) not in facts.state:
        raise reject("There is no third-party invite with this token in the room")
    return False


def sender_is_third_party_inviter(facts: Facts) -> bool:
    # If `sender` does not match `sender` of the `m.room.third_party_invite`, reject.
    if facts.state["m.room.third_party_invite", str(_signed_of(facts).get("token"))].sender != facts.sender:
        raise reject("The third-party invite was made by another user")
    return False


def a_key_signed(facts: Facts) -> bool:
    # If any signature in `signed` matches any public key in the `m.room.third_party_invite` event, allow. The public
    # keys are in `content` of `m.room.third_party_invite` as: 1. A single public key in the `public_key` property. 2.
    # A list of public keys in the `public_keys` property.
    signed = _signed_of(facts)
    content = facts.state["m.room.third_party_invite", str(signed.get("token"))].content
    return is_signed_by_any(signed, public_keys_of(content))


THIRD_PARTY_INVITE = Group(
    third_party_target_is_not_banned,
    third_party_invite_has_signed,
    signed_has_mxid_and_token,
    mxid_is_target,
    token_is_known,
    sender_is_third_party_inviter,
    a_key_signed,
    otherwise_reject("No key of the third-party invite has signed this"),
    condition=_has_third_party_invite,
)


def public_keys_of(content: dict[str, Any]) -> list[str]:
    """The public keys (Base64) in the content of m.room.third_party_invite."""
    keys = [content.get("public_key")]
    listed = content.get("public_keys")
    if isinstance(listed, list):
        keys += [entry.get("public_key") for entry in listed if isinstance(entry, dict)]
    return [key for key in keys if isinstance(key, str)]


def is_signed_by_any(signed: dict[str, Any], public_keys: list[str]) -> bool:
    """Whether any ed25519 signature in `signed` is by any of these keys (Base64)."""
    by_server = signed.get("signatures")
    signatures = [
        signature
        for by_key in (by_server.values() if isinstance(by_server, dict) else ())
        if isinstance(by_key, dict)
        for key_id, signature in by_key.items()
        if isinstance(signature, str) and key_id.startswith("ed25519:")
    ]
    try:
        message = canonical_json.encode({k: v for k, v in signed.items() if k not in ("signatures", "unsigned")})
    except BadJson:
        return False
    pairs = [
        (signature, key) for signature in signatures[:MAX_VERIFICATIONS] for key in public_keys[:MAX_VERIFICATIONS]
    ]
    return any(_is_signature(message, signature, key) for signature, key in pairs[:MAX_VERIFICATIONS])


def _is_signature(message: bytes, signature: str, public_key: str) -> bool:
    try:
        nacl.signing.VerifyKey(decode_base64(public_key)).verify(message, decode_base64(signature))
    except (ValueError, TypeError, nacl.exceptions.CryptoError):
        return False
    return True
