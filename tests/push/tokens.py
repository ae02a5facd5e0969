"""Reading the JSON Web Tokens that providers are sent, as providers do: part by part, without our own code."""

from __future__ import annotations

import base64
import json
from typing import Any


def decode64(text: str) -> bytes:
    """base64url without padding, as RFC 7515 has it."""
    assert "=" not in text
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read_token(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """(header, claims, what is signed, signature)."""
    header, claims, signature = token.split(".")
    return (
        json.loads(decode64(header)),
        json.loads(decode64(claims)),
        f"{header}.{claims}".encode(),
        decode64(signature),
    )
