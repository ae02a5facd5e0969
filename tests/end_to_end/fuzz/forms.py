"""Forms of the pages for people: found in an answer, filled in, and sent by the same browser."""

from __future__ import annotations

import html
import random
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from tests.end_to_end.fuzz import nasty
from tests.end_to_end.fuzz.pool import Pool
from tests.support.server import PASSWORD

_FORM = re.compile(r'<form[^>]* action="([^"]*)"[^>]*>(.*?)</form>', re.DOTALL)
_FIELD = re.compile(r'<(?:input|button)[^>]*? name="([^"]*)"[^>]*?(?: value="([^"]*)")?[^>]*>')
VERIFIER = "v" * 50
REDIRECT = "https://client.example/callback"
OAUTH = {
    "grant_type": ("authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"),
    "response_type": ("code",),
    "scope": ("urn:matrix:client:api:* urn:matrix:client:device:ABCDEFGHIJ", "openid"),
    "token_type_hint": ("access_token", "refresh_token"),
    "code_verifier": (VERIFIER,),
    "redirect_uri": (REDIRECT,),
}


@dataclass
class Browser:
    """What a person's browser keeps: the cookie, and the forms that it was last shown, by path."""

    cookie: str = ""
    forms: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)

    def learn(self, page: str, cookies: str) -> None:
        if cookies:
            self.cookie = cookies.partition(";")[0]
        for action, inside in _FORM.findall(page):
            target = html.unescape(action)
            fields = {name: html.unescape(value) for name, value in _FIELD.findall(inside)}
            self.forms[target.partition("?")[0]] = (target, fields)

    def fill_in(self, path: str, name: str, chance: random.Random) -> tuple[str, dict[str, str]] | None:
        """The target and fields of the form for this path, as somebody would send it."""
        if path not in self.forms:
            return None
        target, fields = self.forms[path]
        given = {"user": name, "password": PASSWORD}
        filled = {field: value or given.get(field) or "text" for field, value in fields.items()}
        if chance.random() < 0.2:
            filled[chance.choice(list(filled))] = nasty.text(chance)
        return target, filled


def oauth_query(pool: Pool, chance: random.Random) -> list[tuple[str, str]]:
    """What an app asks of /authorize; one in five lacks something or has something odd."""
    fields = {
        "response_type": "code",
        "response_mode": chance.choice(("query", "fragment")),
        "client_id": pool.pick("client", chance) or "x",
        "redirect_uri": REDIRECT,
        "scope": f"urn:matrix:client:api:* urn:matrix:client:device:DEVICE{chance.randrange(10_000):06}",
        "state": "state",
        "code_challenge": urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    if chance.random() < 0.2:
        fields[chance.choice(list(fields))] = nasty.text(chance)
    return list(fields.items())


def oauth_client(chance: random.Random) -> dict[str, Any]:
    """The metadata of an app that registers itself."""
    return {
        "client_name": chance.choice(("App", "应用", "<script>alert(1)</script>")),
        "client_uri": "https://client.example/",
        "redirect_uris": [REDIRECT],
        "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "application_type": "web",
    }


def oauth_form(pool: Pool, chance: random.Random) -> bytes:
    """A form that no page has: what programs send to the OAuth endpoints."""
    fields = {name: chance.choice(values) for name, values in OAUTH.items() if chance.random() < 0.85}
    for name, kind in (("client_id", "client"), ("device_code", "code"), ("refresh_token", "refresh_token")):
        fields[name] = pool.pick(kind, chance) or nasty.text(chance)
    fields["token"] = pool.pick("refresh_token", chance) or "x"
    fields["code"] = pool.pick("oauth_code", chance) or "x"
    if chance.random() < 0.2:
        fields[chance.choice(list(fields))] = nasty.text(chance)
    return urlencode(fields, errors="surrogatepass").encode()
