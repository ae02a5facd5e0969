"""A client app of the OAuth 2.0 API, and a server that offers it."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from homeserver.oauth.services import OAuthSettings
from homeserver.storage.database import Database
from tests.support.http import Answer
from tests.support.pages import Page, PageReader, split_location
from tests.support.server import PASSWORD, Server, open_server, server_settings

BASE = "https://matrix.halfdoor.test"
AUTHORIZE = "/_halfdoor/account/authorize"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
METADATA: dict[str, Any] = {
    "client_name": "Example app",
    "client_name#zh": "示例应用",
    "client_uri": "https://app.example.com/",
    "redirect_uris": ["https://app.example.com/callback"],
    "grant_types": ["authorization_code", "refresh_token", DEVICE_CODE],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
    "application_type": "web",
}


def open_oauth_server(db: Database | None = None, **changes: Any) -> Server:
    """A server that offers the OAuth 2.0 API. `changes` replace its settings."""
    settings = replace(server_settings(), oauth=OAuthSettings(is_enabled=True, base_url=BASE))
    return open_server(db, replace(settings, **changes))


@dataclass
class App:
    """A registered client."""

    server: Server
    client_id: str
    redirect_uri: str = METADATA["redirect_uris"][0]
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    device_id: str = "APPDEVICE1"

    @property
    def scope(self) -> str:
        return f"urn:matrix:client:api:* urn:matrix:client:device:{self.device_id}"

    def authorize_url(self, **changes: str | None) -> str:
        """The address that the app opens in a browser. A parameter that is None is left out."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        query: dict[str, str | None] = {
            "response_type": "code",
            "response_mode": "fragment",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.scope,
            "state": "state-of-app",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **changes,
        }
        return f"{AUTHORIZE}?{urlencode({name: value for name, value in query.items() if value is not None})}"

    async def code(self, reader: PageReader, name: str = "alice", **changes: str | None) -> str:
        """Log in and allow: the code that the app gets."""
        page = await reader.get(self.authorize_url(**changes))
        if "password" in page.forms[0].fields:
            page = await reader.submit(page, user=name, password=PASSWORD)
        page = await reader.submit(page, answer="allow", follow=False)
        return split_location(page.location)[1]["code"]

    async def exchange(self, code: str, **changes: str) -> Answer:
        """The token request for a code."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "client_id": self.client_id,
            "code_verifier": self.verifier,
            **changes,
        }
        return await self.post("token", form)

    async def refresh(self, refresh_token: str, **changes: str) -> Answer:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": self.client_id, **changes}
        return await self.post("token", form)

    async def post(self, endpoint: str, form: dict[str, str]) -> Answer:
        return await post_form(self.server, f"/_halfdoor/oauth2/{endpoint}", form)


async def post_form(server: Server, path: str, form: dict[str, str]) -> Answer:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return await server.client.request("POST", path, body=urlencode(form).encode(), headers=headers)


async def register_app(server: Server, **changes: Any) -> App:
    answer = await server.client.request("POST", "/_halfdoor/oauth2/register", json={**METADATA, **changes})
    assert answer.status == 201, answer.body
    redirects = answer.json.get("redirect_uris", [""])
    return App(server, answer.json["client_id"], redirects[0])


async def log_in_reader(server: Server, name: str = "alice", **more: Any) -> PageReader:
    """Somebody who is logged in on the pages."""
    reader = PageReader(server.client, **more)
    page = await reader.get("/_halfdoor/account/login")
    found: Page = await reader.submit(page, user=name, password=PASSWORD)
    assert found.status == 200, found.text
    return reader
