"""What the engine is told of a request, and what it answers: plain values, so that nothing but it needs its library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homeserver.storage.oauth_clients import OAuthClient
from homeserver.storage.oauth_grants import AuthorizationCode, DeviceCode, OAuthSession


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read for a request. `session`: whose refresh token it carries. `now_ms`: the time."""

    now_ms: int
    client: OAuthClient | None = None
    code: AuthorizationCode | None = None
    session: OAuthSession | None = None
    device_code: DeviceCode | None = None
    verification_uri: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in OAuth's own form."""

    status: int
    body: dict[str, Any]
    headers: tuple[tuple[str, str], ...] = ()


def refused(error: str, description: str, status: int = 400) -> Answer:
    """An error of RFC 6749, section 5.2."""
    return Answer(status, {"error": error, "error_description": description})
