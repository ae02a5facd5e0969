"""The web chat inside the server's process: a bridge like any other, whose registration we write ourselves.

Belongs to the composition root. The bridge reaches the server at its first listener, and the server the bridge at a
free port of 127.0.0.1; browsers reach it at `webchat.host` and `webchat.port`.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from bridges.kit.registration import registration
from bridges.kit.settings import BridgeSettings
from bridges.webchat import Site, WebchatBridge, WebchatSettings
from config.settings import Settings
from homeserver.appservice_api.registration import Appservice, parse_registration

ID = "webchat"


async def start_webchat(settings: Settings) -> tuple[WebchatBridge, Appservice]:
    """Start the bridge; the homeserver need not answer yet. Returns it with its registration."""
    folder = settings.signing_key_file.parent
    tokens = _tokens(folder / "webchat-tokens.json")
    listener = next(one for one in settings.listeners if "client" in one.apis and one.tls_certificate_file is None)
    host = "127.0.0.1" if listener.host in ("0.0.0.0", "::", "") else listener.host  # noqa: S104
    bridge_settings = BridgeSettings(
        id=ID,
        homeserver_url=f"http://{f'[{host}]' if ':' in host else host}:{listener.port}",
        server_name=settings.server_name,
        as_token=tokens["as_token"],
        hs_token=tokens["hs_token"],
        prefix="_web_",
        bot="_webchat",
        bot_name="Web chat",
        database=str(folder / "webchat.db"),
    )
    webchat = settings.webchat
    bridge = WebchatBridge(
        WebchatSettings(
            bridge=bridge_settings,
            sites=tuple(
                Site(
                    key=site.key,
                    origins=tuple(site.origins),
                    staff=tuple(site.staff),
                    title=site.title,
                    greeting=site.greeting,
                    colour=site.colour,
                )
                for site in webchat.sites
            ),
            web_host=webchat.host,
            web_port=webchat.port,
            public_url=webchat.public_url,
            trusted_proxies=tuple(webchat.trusted_proxies),
            demo_site=webchat.demo_site or "",
        )
    )
    await bridge.start()
    document = {**registration(bridge_settings), "url": f"http://127.0.0.1:{bridge.appservice_port}"}
    return bridge, parse_registration(document, settings.server_name, source="the bundled web chat")


def _tokens(file: Path) -> dict[str, str]:
    """The two secrets between the server and its web chat, made at the first start and readable by the owner alone."""
    if not file.exists():
        made = {"as_token": secrets.token_urlsafe(32), "hs_token": secrets.token_urlsafe(32)}
        unfinished = file.with_suffix(".new")  # whoever is killed here leaves this, and no half of the real one
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(made, stream)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(file)
    tokens: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return tokens
