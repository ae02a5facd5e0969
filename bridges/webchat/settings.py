"""What the web chat has to be told: the sites that may embed it, who answers there, and how much anybody may send."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from bridges.kit import BridgeSettings


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One web site. `key` is public: it stands in the page. `origins` are exact (`https://shop.example`, with a port
    where it is not the scheme's own); `staff` are the Matrix user ids invited into each conversation."""

    key: str
    origins: tuple[str, ...] = ()
    staff: tuple[str, ...] = ()
    title: str = ""
    greeting: str = ""
    colour: str = "#1f6f5c"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.key):
            raise ValueError("a site's key must be 1 to 64 letters, digits, - and _")
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.colour):
            raise ValueError("a site's colour must look like #1f6f5c")
        for origin in self.origins:
            if normal_origin(origin) != origin:
                raise ValueError(
                    f"{origin!r} is no origin; write it like https://shop.example or http://127.0.0.1:8080"
                )


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much is let in (W13). Rates are per second, beside the burst that is allowed at once."""

    longest_text: int = 4000
    message_rate: float = 1.0
    message_burst: int = 12
    address_message_rate: float = 4.0
    address_message_burst: int = 60
    conversation_rate: float = 1 / 60
    conversation_burst: int = 6
    site_conversation_rate: float = 0.5
    site_conversation_burst: int = 100
    connect_rate: float = 2.0
    connect_burst: int = 40
    frame_rate: float = 20.0
    frame_burst: int = 200
    typing_rate: float = 1.0
    typing_burst: int = 5
    connections_per_address: int = 40
    connections: int = 20_000
    hello_seconds: float = 15.0
    largest_file: int = 20 * 1024 * 1024


class WebchatSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. `public_url` is where browsers reach the bridge (empty: the address it listens on);
    `trusted_proxies` are the addresses whose X-Forwarded-For is believed; `demo_site` is the key of the site that
    the page /webchat/demo shows, empty for no such page."""

    bridge: BridgeSettings
    sites: tuple[Site, ...]
    web_host: str = "127.0.0.1"
    web_port: int = 0
    public_url: str = ""
    trusted_proxies: tuple[str, ...] = ()
    demo_site: str = ""
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        keys = [site.key for site in self.sites]
        if len(set(keys)) != len(keys):
            raise ValueError("two sites have the same key")
        if self.demo_site and self.demo_site not in keys:
            raise ValueError(f"demo_site {self.demo_site!r} is none of the sites")


def normal_origin(text: str) -> str | None:
    """The origin as browsers write it, or None: lower case, no path, no default port."""
    parts = urlsplit(text.strip())
    try:
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.username:
        return None
    if parts.query or parts.fragment:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if port in (None, default) else f":{port}")
