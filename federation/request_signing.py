"""Requests between servers are signed by who sends them: the header X-Matrix, written and read (B09).

Pure: what is signed is rebuilt from the very method, target and body that are sent or came in.
Spec: Server-Server API, "Request Authentication".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from signedjson.types import SigningKey, VerifyKey

from homeserver.protocol.errors import Unauthorized
from homeserver.protocol.identifiers import is_server_name
from homeserver.protocol.signatures import InvalidSignature, key_id_of, sign, verify

MAXIMUM_LENGTH: Final = 8192
_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# Synapse before 1.79 wrote values with colons without quotes, and so do others: taken, as the specification says.
_UNQUOTED: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z:/=\[\]]+"
_QUOTED: Final = r'"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"'
_PARAMETER: Final = re.compile(rf"[ \t]*({_WORD})[ \t]*=[ \t]*({_QUOTED}|{_UNQUOTED})[ \t]*(?:,|$)")
_ESCAPED: Final = re.compile(r"\\(.)")
_NAMES: Final = frozenset({"origin", "destination", "key", "sig"})


@dataclass(frozen=True, slots=True)
class XMatrix:
    """What a signed request says of itself."""

    origin: str
    destination: str
    key_id: str
    signature: str


def sign_request(method: str, target: str, content: Any, *, origin: str, destination: str, key: SigningKey) -> str:
    """The value of the header Authorization. `target`: path and query as they are sent; `content`: the JSON body, or
    None when there is none."""
    signed = sign(signed_object(method, target, content, origin=origin, destination=destination), origin, key)
    key_id = key_id_of(key)
    signature = signed["signatures"][origin][key_id]
    return f'X-Matrix origin="{origin}",destination="{destination}",key="{key_id}",sig="{signature}"'


def parse_authorization(header: str, own_name: str) -> XMatrix:
    """Raises Unauthorized for whatever is not exactly one X-Matrix credential, addressed to us."""
    if len(header) > MAXIMUM_LENGTH:
        raise Unauthorized("The Authorization header is too long")
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "x-matrix":
        raise Unauthorized("Requests between servers are signed: Authorization: X-Matrix ...")
    found: dict[str, str] = {}
    place = 0
    rest = rest.strip()
    while place < len(rest):
        match = _PARAMETER.match(rest, place)
        if match is None:
            raise Unauthorized("The Authorization header cannot be read")
        name, value = match[1].lower(), match[2]
        if name in found:
            raise Unauthorized("The Authorization header says something twice")
        if value.startswith('"'):
            value = _ESCAPED.sub(r"\1", value[1:-1])
        if name in _NAMES:  # "Unknown parameters are ignored."
            found[name] = value
        place = match.end()
    if found.keys() != _NAMES:
        raise Unauthorized("The Authorization header lacks origin, destination, key or sig")
    if found["destination"] != own_name:
        raise Unauthorized("The request is signed for another server")
    if not is_server_name(found["origin"]) or found["origin"] == own_name:
        raise Unauthorized("The origin is not another server's name")
    return XMatrix(found["origin"], found["destination"], found["key"], found["sig"])


def check_request(method: str, target: str, content: Any, said: XMatrix, key: VerifyKey) -> None:
    """Check that the origin has signed this very request. Raises Unauthorized."""
    signed = signed_object(method, target, content, origin=said.origin, destination=said.destination)
    signed["signatures"] = {said.origin: {said.key_id: said.signature}}
    try:
        verify(signed, said.origin, key)
    except InvalidSignature:
        raise Unauthorized("The signature of the request is not valid") from None


def signed_object(method: str, target: str, content: Any, *, origin: str, destination: str) -> dict[str, Any]:
    """What is signed of a request, without the signature."""
    made: dict[str, Any] = {"method": method, "uri": target, "origin": origin, "destination": destination}
    if content is not None:
        made["content"] = content
    return made
