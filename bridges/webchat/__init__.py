"""The website widget: visitors of a web page are a remote network, answered from any Matrix client. docs/webchat.md."""

from __future__ import annotations

from bridges.webchat.bridge import WebchatBridge
from bridges.webchat.settings import Limits, Site, WebchatSettings

__all__ = ["Limits", "Site", "WebchatBridge", "WebchatSettings"]
