"""Web pages and files beside the API: HTML with security headers, and a directory as exact routes.

The pages are ours and run no foreign script; whoever needs more says so by `policy`.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from homeserver.http.request import Request, Response
from homeserver.http.routing import Auth, Route, RouteGroup
from homeserver.pages.html import Html
from homeserver.pages.languages import Language, choose_language
from homeserver.pages.page import STYLE_SOURCE, render_page

CONTENT_POLICY: Final = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

_NOTHING: Final = "'none'"

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def html_response(html: str, *, status: int = 200, policy: str = CONTENT_POLICY) -> Response:
    """A page. `policy` is its Content-Security-Policy; one that allows other sites to frame it (`frame-ancestors` that
    is not 'none') also drops X-Frame-Options."""
    headers = {**SECURITY_HEADERS, "Content-Security-Policy": policy, "Cache-Control": "no-store"}
    if "frame-ancestors" in policy and "frame-ancestors 'none'" not in policy:
        del headers["X-Frame-Options"]
    return Response(html.encode(), status, headers, "text/html; charset=utf-8")


def page_response(
    language: Language,
    title: str,
    body: Html,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    form_targets: Iterable[str] = (),
    scripts: Iterable[str] = (),
    refresh_to: str | None = None,
    connects: bool = False,
) -> Response:
    """A page of `pages/`: it loads nothing, runs nothing, is framed by nobody and sends its forms to us alone.

    `form_targets`: further sources (`https://app.example.org`, `com.example.app:`) where the answer to a form of this
    page may redirect to; `scripts`: sources of scripts (`'nonce-…'`) that the body has; `connects`: those scripts
    may ask us things; `headers`: a browser's cookie.
    The page keeps the window that opened it: apps open pages in windows of their own, and wait there for a word.
    """
    targets = " ".join(("'self'", *form_targets))
    policy = (
        f"default-src 'none'; style-src {STYLE_SOURCE}; script-src {' '.join(scripts) or _NOTHING}; "
        f"form-action {targets}; base-uri 'none'; frame-ancestors 'none'"
    )
    if connects:
        policy += "; connect-src 'self'"
    answer = html_response(render_page(language, title, body, refresh_to=refresh_to), status=status, policy=policy)
    sent = {**answer.headers, **(headers or {})}
    del sent["Cross-Origin-Opener-Policy"]
    answer.headers = sent
    return answer


def language_of(request: Request) -> Language:
    """The language of whoever looks at a page: `ui_locales` of the query, then the browser's Accept-Language."""
    asked = request.query.get("ui_locales", [""])[0]
    return choose_language(asked, request.headers.get("accept-language", ""))


def redirect(location: str, *, headers: Mapping[str, str] | None = None, status: int = 303) -> Response:
    """To another page. `location` is ours or was checked, and is ASCII without line breaks."""
    kept = {name: value for name, value in SECURITY_HEADERS.items() if name != "Cross-Origin-Opener-Policy"}
    sent = {**kept, "Cache-Control": "no-store", "Location": location, **(headers or {})}
    return Response(b"", status, sent, "text/plain")


class StaticFile:
    """One file, kept in memory, answered with an ETag."""

    def __init__(self, content: bytes, content_type: str, *, max_age: int, headers: Mapping[str, str]) -> None:
        self._content, self._content_type = content, content_type
        self._etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        self._headers = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "ETag": self._etag,
            "Cache-Control": f"public, max-age={max_age}",
            **headers,
        }

    async def get_file(self, request: Request) -> Response:
        """304 when the client has it already."""
        known = request.headers.get("if-none-match", "")
        if self._etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
            return Response(b"", 304, self._headers, self._content_type)
        return Response(self._content, 200, self._headers, self._content_type)


def static_routes(
    directory: Path, prefix: str, *, max_age: int = 300, headers: Mapping[str, str] | None = None
) -> list[Route]:
    """One exact route for each file below `directory`, read once: no path from a request ever reaches the disk.

    `prefix` begins with a slash and does not end with one. Hidden files are left out.
    """
    routes = []
    for path in sorted(directory.rglob("*")):
        parts = path.relative_to(directory).parts
        if not path.is_file() or any(part.startswith(".") for part in parts):
            continue
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if kind.startswith("text/") or kind == "application/javascript":
            kind = f"{kind}; charset=utf-8"
        policy = {"Content-Security-Policy": CONTENT_POLICY} if kind.startswith("text/html") else {}
        file = StaticFile(path.read_bytes(), kind, max_age=max_age, headers={**policy, **(headers or {})})
        routes.append(Route("GET", "/".join((prefix, *parts)), file.get_file, Auth.NONE, group=RouteGroup.STATIC))
    return routes
