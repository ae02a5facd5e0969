"""What an e-mail address looks like here: one mailbox, in the one form in which it is compared and kept."""

from __future__ import annotations

import re
from typing import Final

MAXIMUM_LENGTH: Final = 254
"""Octets (RFC 5321, section 4.5.3.1.3, less the angle brackets)."""

# Dot-atoms alone (RFC 5321, section 4.1.2): quoted local parts and address literals are legal, and used by nobody but
# those who try what a parser makes of them. Letters beyond ASCII are taken (RFC 6531).
_ATOM: Final = r"[^\s\x00-\x20\x7f-\xa0\"(),:;<>@\[\]\\.\u2028\u2029]+"
_LABEL: Final = r"[^\W_](?:[\w-]*[^\W_])?"
_ADDRESS: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


def is_address(text: str) -> bool:
    """Whether it is one plain mailbox, such as `alice@example.org`."""
    try:
        length = len(text.encode())
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    if length > MAXIMUM_LENGTH or _ADDRESS.fullmatch(text) is None:
        return False
    local, _, domain = text.partition("@")
    return len(local.encode()) <= 64 and all(len(label) <= 63 for label in domain.split("."))


def canonical_address(text: str) -> str | None:
    """The form in which addresses are compared, or None when it is no address.

    Spec, Appendices, "3PID Types", "E-Mail": "`Strauß@Example.com` must be considered to be `strauss@example.com`".
    Spaces around it are a typo.
    """
    folded = text.strip().casefold()
    return folded if is_address(folded) else None


def domain_of_address(address: str) -> str:
    """The part after the @, in the ASCII form that headers want."""
    domain = address.rpartition("@")[2]
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return "localhost"
