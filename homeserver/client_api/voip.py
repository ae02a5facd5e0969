"""Where calls find a relay, and calls of many what carries them.

Spec: Client-Server API, "Voice over IP", `GET /voip/turnServer`; MSC4143 (MatrixRTC), `GET /rtc/transports`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from homeserver.clock import Clock
from homeserver.http.request import Request, Response


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """Relays of the operator, and the secret that this server shares with them (coturn's `use-auth-secret`)."""

    uris: tuple[str, ...] = ()
    shared_secret: str = field(default="", repr=False)
    lifetime_seconds: int = 86_400


class VoipApi:
    """/voip/turnServer and /rtc/transports."""

    def __init__(self, settings: TurnSettings, clock: Clock, rtc_transports: Sequence[Mapping[str, str]] = ()) -> None:
        self._settings = settings
        self._clock = clock
        self._rtc_transports = [dict(transport) for transport in rtc_transports]

    async def get_turn_server(self, request: Request) -> Response:
        """Credentials that end by themselves; {} where no relay is set up."""
        settings = self._settings
        if not settings.uris or not settings.shared_secret:
            return Response({})
        expires = self._clock.now_ms() // 1000 + settings.lifetime_seconds
        username = f"{expires}:{request.user.user_id}"
        digest = hmac.digest(settings.shared_secret.encode(), username.encode(), hashlib.sha1)
        return Response(
            {
                "username": username,
                "password": base64.b64encode(digest).decode(),
                "uris": list(settings.uris),
                "ttl": settings.lifetime_seconds,
            }
        )

    async def get_rtc_transports(self, request: Request) -> Response:
        """What the operator has set up to carry calls of many; [] where there is nothing."""
        return Response({"rtc_transports": self._rtc_transports})
