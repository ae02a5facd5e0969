"""The registration file: what the homeserver's operator installs so that a bridge may act.

Spec: Application Service API, "Registration".
"""

from __future__ import annotations

import re
import secrets
from typing import Any

import msgspec

from bridges.kit.settings import BridgeSettings


def new_token() -> str:
    """A secret for as_token or hs_token: 256 random bits."""
    return secrets.token_urlsafe(32)


def registration(settings: BridgeSettings) -> dict[str, Any]:
    """The registration of a bridge. Its user and alias namespaces are exclusive: nobody else can make a ghost (W20)."""
    server = re.escape(settings.server_name)
    prefix = re.escape(settings.prefix)
    return {
        "id": settings.id,
        "url": settings.listen_url or f"http://{settings.listen_host}:{settings.listen_port}",
        "as_token": settings.as_token,
        "hs_token": settings.hs_token,
        "sender_localpart": settings.bot,
        "rate_limited": False,
        "receive_ephemeral": True,
        "de.sorunome.msc2409.push_ephemeral": True,  # Synapse's older name of the same
        "namespaces": {
            "users": [
                {"exclusive": True, "regex": f"@{prefix}.*:{server}"},
                {"exclusive": True, "regex": f"@{re.escape(settings.bot)}:{server}"},
            ],
            "aliases": [{"exclusive": True, "regex": f"#{prefix}.*:{server}"}],
            "rooms": [],
        },
    }


def registration_file(settings: BridgeSettings) -> str:
    """The registration as YAML text, ready for `app_service_config_files` or Halfdoor's `appservices`."""
    return msgspec.yaml.encode(registration(settings)).decode()
