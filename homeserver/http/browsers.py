"""A person's browser: known by one random cookie, to which the forms that it is shown are tied (row F14).

The cookie alone says nothing; whoever logs in on our pages gets a new one, whose hash is stored as a session of the
account pages (`oauth/browser_sessions.py`). A form's token is an HMAC keyed with the cookie: a page of another site can
neither read the cookie nor make the token, and needs no store on our side.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from homeserver.http.request import Request
from homeserver.protocol.errors import BadJson, Forbidden

CSRF_FIELD: Final = "csrf"
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_LIFETIME_SECONDS: Final = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Browser:
    """`secret` is the cookie's value; `is_new`: the browser does not have it yet, so an answer must carry `headers`.
    `is_secure`: people reach the server by https, so the cookie travels by https alone, to this host alone."""

    secret: str
    is_new: bool
    is_secure: bool

    def headers(self) -> dict[str, str]:
        """The Set-Cookie header; nothing when the browser has the cookie already."""
        if not self.is_new:
            return {}
        attributes = f"Path=/; Max-Age={_LIFETIME_SECONDS}; HttpOnly; SameSite=Lax"
        return {"Set-Cookie": f"{_name(self.is_secure)}={self.secret}; {attributes}{'; Secure' * self.is_secure}"}

    def token(self, purpose: str) -> str:
        """The token of a form. `purpose`: what the form is for, so that one form's token is no other's."""
        return hmac.new(self.secret.encode(), f"form:{purpose}".encode(), hashlib.sha256).hexdigest()

    def check(self, form: Mapping[str, str], purpose: str) -> None:
        """Raises Forbidden when the form was not made for this browser and purpose."""
        given = form.get(CSRF_FIELD, "")
        if self.is_new or not hmac.compare_digest(given.encode(), self.token(purpose).encode()):
            raise Forbidden("This form is too old, or the browser keeps no cookies; go back and try again.")


def browser_of(request: Request, *, is_secure: bool) -> Browser:
    """The browser that asks, or a new one."""
    wanted = _name(is_secure)
    for piece in request.headers.get("cookie", "").split(";"):
        name, _, value = piece.strip().partition("=")
        if name == wanted and _SECRET.fullmatch(value):
            return Browser(value, is_new=False, is_secure=is_secure)
    return new_browser(is_secure=is_secure)


def new_browser(*, is_secure: bool) -> Browser:
    """A browser with another cookie than before: who logs in or out gets one (no session fixation)."""
    return Browser(secrets.token_urlsafe(32), is_new=True, is_secure=is_secure)


def parse_form(request: Request, *, max_fields: int = 100) -> dict[str, str]:
    """The body as application/x-www-form-urlencoded, each field once. Raises BadJson."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise BadJson("The body must be a form (application/x-www-form-urlencoded).")
    try:
        pairs = parse_qsl(
            request.body.decode(), keep_blank_values=True, max_num_fields=max_fields, encoding="utf-8", errors="strict"
        )
    except ValueError:
        raise BadJson("The form could not be read.") from None
    if "\0" in request.body.decode() or any("\0" in name or "\0" in value for name, value in pairs):
        raise BadJson("The form holds a NUL character.")
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise BadJson("The form has a field twice.")
    return fields


def _name(is_secure: bool) -> str:
    """`__Host-`: browsers take it over https only, for this host only, so that no neighbour can plant one."""
    return "__Host-halfdoor" if is_secure else "halfdoor"
