"""Forms of the pages for people: found in an answer, filled in, and sent by the same browser."""

from __future__ import annotations

import html
import random
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from tests.end_to_end.fuzz import nasty
from tests.end_to_end.fuzz.pool import Pool
from tests.support.server import PASSWORD

_FORM = re.compile(r'<form[^>]* action="([^"]*)"[^>]*>(.*?)</form>', re.DOTALL)
_FIELD = re.compile(r'<(?:input|button)[^>]*? name="([^"]*)"[^>]*?(?: value="([^"]*)")?[^>]*>')
OAUTH = {
    "grant_type": ("authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"),
    "response_type": ("code",),
    "scope": ("urn:matrix:client:api:* urn:matrix:client:device:ABCDEFGHIJ", "openid"),
    "token_type_hint": ("access_token", "refresh_token"),
    "code_verifier": ("v" * 50,),
    "redirect_uri": ("https://client.example/", "x"),
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


def oauth_form(pool: Pool, chance: random.Random) -> bytes:
    """A form that no page has: what programs send to the OAuth endpoints."""
    fields = {name: chance.choice(values) for name, values in OAUTH.items() if chance.random() < 0.7}
    for name, kind in (("client_id", "client"), ("device_code", "code"), ("refresh_token", "refresh_token")):
        fields[name] = pool.pick(kind, chance) or nasty.text(chance)
    fields["token"] = pool.pick("refresh_token", chance) or "x"
    fields["code"] = nasty.text(chance)
    if chance.random() < 0.2:
        fields[chance.choice(list(fields))] = nasty.text(chance)
    return urlencode(fields, errors="surrogatepass").encode()
