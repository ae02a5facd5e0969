"""A person at our pages, without a browser: keeps the cookie, reads forms, sends them, follows redirects."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlencode, urlsplit

from tests.support.http import Answer, HttpClient


@dataclass
class Form:
    """One form of a page."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert not any(name.startswith("on") for name in given), f"a script in an attribute: {given}"
        assert not given.get("href", "").lower().startswith("javascript:"), given
        if tag == "script":
            self.scripts += 1
        elif tag == "form":
            assert given["method"] == "post"
            self.forms.append(Form(given["action"]))
        elif tag == "input" and given.get("type") != "checkbox":
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        elif tag == "button" and "name" in given:
            self.forms[-1].buttons.append((given["name"], given["value"]))
        elif tag == "a":
            self.links.append(given["href"])


@dataclass
class Page:
    """What came back. `url` is where it was found."""

    answer: Answer
    url: str
    forms: list[Form]
    links: list[str]

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def text(self) -> str:
        return self.answer.body.decode()

    @property
    def location(self) -> str:
        return self.answer.headers["location"]


@dataclass
class PageReader:
    """One browser. Every page is checked for the headers that pages must have."""

    client: HttpClient
    cookie: str | None = None
    language: str = "en"

    async def get(self, url: str, *, follow: bool = True) -> Page:
        return await self._send("GET", url, None, follow)

    async def post(self, url: str, fields: dict[str, str], *, follow: bool = True) -> Page:
        return await self._send("POST", url, fields, follow)

    async def submit(self, page: Page, form: int = 0, *, follow: bool = True, **values: str) -> Page:
        """Fill in and send a form."""
        chosen = page.forms[form]
        return await self.post(chosen.action, {**chosen.fields, **values}, follow=follow)

    async def _send(self, method: str, url: str, fields: dict[str, str] | None, follow: bool) -> Page:
        headers = {"accept-language": self.language}
        if self.cookie is not None:
            headers["cookie"] = f"other=1; {self.cookie}"
        body = b""
        if fields is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
            body = urlencode(fields).encode()
        answer = await self.client.request(method, url, body=body, headers=headers)
        if "set-cookie" in answer.headers:
            given = answer.headers["set-cookie"]
            assert "HttpOnly" in given
            assert "SameSite=Lax" in given
            assert "Path=/" in given
            assert given.startswith("__Host-")
            assert "Secure" in given
            self.cookie = given.partition(";")[0]
        page = _page(answer, url)
        if follow and answer.status == 303 and page.location.startswith("/_halfdoor/"):
            return await self._send("GET", page.location, None, follow)
        return page


def _page(answer: Answer, url: str) -> Page:
    assert "access-control-allow-origin" not in answer.headers, f"CORS on {url}"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    reader = _Reader()
    if answer.headers["content-type"].startswith("text/html"):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "base-uri 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        reader.feed(answer.body.decode())
        assert reader.scripts == 0 or "nonce-" in policy
        for form in reader.forms:
            assert re.match(r"/_(halfdoor|matrix)/", form.action), form.action
            assert "csrf" in form.fields
    return Page(answer, url, reader.forms, reader.links)


def split_location(url: str) -> tuple[str, dict[str, str]]:
    """Where a redirect goes, and the parameters that it carries, in the query or the fragment."""
    parts = urlsplit(url)
    from urllib.parse import parse_qsl

    carried = dict(parse_qsl(parts.fragment or parts.query))
    return parts._replace(query="", fragment="").geturl(), carried
