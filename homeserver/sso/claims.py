"""From a provider's claims to a user name, a name and an address: small templates, never code."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_PLACE = re.compile(r"\{([A-Za-z0-9_:./-]{1,100})\}")
_ALLOWED = re.compile(r"[^a-z0-9._=/+-]")
_LENGTH = 200


def fill_template(template: str, claims: Mapping[str, Any]) -> str:
    """`template` with each `{claim}` (a dot reaches into an object: `{address.country}`); "" when one is missing."""
    missing = False

    def value_of(match: re.Match[str]) -> str:
        nonlocal missing
        value: Any = claims.get(match[1])
        if value is None:
            value = claims
            for name in match[1].split("."):
                value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            missing = True
            return ""
        return str(value)

    filled = _PLACE.sub(value_of, template)
    return "" if missing else filled.strip()[:_LENGTH]


def localpart_from(text: str) -> str:
    """A user name that somebody may have, near to `text`: an address's part before the @, folded to what user ids
    allow. It is a proposal, never an identity (row F12)."""
    folded = unicodedata.normalize("NFKD", text.partition("@")[0]).encode("ascii", "ignore").decode().lower()
    return _ALLOWED.sub("", folded.replace(" ", ".")).lstrip("_")[:_LENGTH]
