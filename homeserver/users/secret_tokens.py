"""Tokens that prove something: made by `secrets` alone, kept as SHA-256 alone (rows F01 and F11)."""

from __future__ import annotations

import hashlib
import secrets
from typing import Literal

Kind = Literal["hd", "hdr", "hdl", "hdo", "hdi", "hdv", "hdc", "hdd"]
"""The prefix says what leaked: access, refresh, login, OpenID token, interactive session, a link in an e-mail,
OAuth authorization code, or device code."""


def new_token(kind: Kind) -> str:
    """256 random bits, with a prefix by which secret scanners know it."""
    return f"{kind}_{secrets.token_urlsafe(32)}"


def new_row_id() -> int:
    """An id for a stored token: random, positive, exact in every JSON reader."""
    return secrets.randbits(52) + 1


def hash_of(token: str) -> str:
    """What is stored of a token. Tokens have full entropy, so that one fast hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()
