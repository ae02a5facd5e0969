"""Scopes: what a client asks for. Spec: Client-Server API, "Scope", "Allocated scope tokens"."""

from __future__ import annotations

import re
from dataclasses import dataclass

_API = ("urn:matrix:client:api:*", "urn:matrix:org.matrix.msc2967.client:api:*")
_DEVICE = ("urn:matrix:client:device:", "urn:matrix:org.matrix.msc2967.client:device:")
_DEVICE_ID = re.compile(r"[A-Za-z0-9._~-]{6,255}")
"""The unreserved characters: "The homeserver MAY reject a request for a `device_id` that is not long enough or contains
characters outside the unreserved list"."""


class WrongScope(Exception):
    """The scope is none that this server grants; the text says why."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is granted: the whole API, to one device. `text` is as it was asked, without what the server ignores."""

    text: str
    device_id: str


def parse_scope(asked: str | None) -> Scope:
    """The scope of a login. Tokens that this server does not know are left out of what is granted, as OAuth allows.
    Raises WrongScope: "There MUST be exactly one `urn:matrix:client:device:<device_id>` token"."""
    granted: list[str] = []
    device_ids: set[str] = set()
    has_api = False
    for token in (asked or "").split(" "):
        prefix = next((each for each in _DEVICE if token.startswith(each)), None)
        if token in _API:
            has_api = True
        elif prefix is not None:
            device_ids.add(token.removeprefix(prefix))
        else:
            continue
        if token not in granted:
            granted.append(token)
    if not has_api:
        raise WrongScope("The scope must hold urn:matrix:client:api:*")
    if len(device_ids) != 1:
        raise WrongScope("The scope must hold exactly one urn:matrix:client:device: token")
    device_id = device_ids.pop()
    if not _DEVICE_ID.fullmatch(device_id):
        raise WrongScope("A device id has 6 to 255 letters, digits and the characters -._~")
    return Scope(" ".join(granted), device_id)
