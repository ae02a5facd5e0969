"""User-interactive authentication as requests: what is to be allowed, and the fallback pages for web browsers.

The pages are filled by escaped text alone, say nothing but what they are for, and may neither be framed nor load
anything but what they name (row F08). Spec: Client-Server API, "User-Interactive Authentication API", "Fallback".
"""

from __future__ import annotations

import html
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from homeserver.http.pages import redirect
from homeserver.http.parsing import query_string
from homeserver.http.request import Request, Response
from homeserver.protocol.errors import InvalidParam, MatrixError, NotFound
from homeserver.users.interactive_auth import InteractiveAuth, Operation

TITLES = {
    "m.login.recaptcha": "Please show that you are a person",
    "m.login.terms": "Please read and accept",
    "m.login.registration_token": "Please enter your registration token",
}
_CAPTCHA_SOURCES = "https://www.google.com/recaptcha/ https://www.gstatic.com/recaptcha/"


def operation_of(request: Request, body: Mapping[str, Any]) -> Operation:
    """What a request wants to do, and on whose behalf."""
    requester = request.requester
    return Operation(
        method=request.method,
        path=request.path,
        body=body,
        client_address=request.client_address,
        user_id=requester.user_id if requester is not None else "",
        device_id=(requester.device_id or "") if requester is not None else "",
    )


class InteractiveAuthApi:
    """/_matrix/client/v3/auth/{type}/fallback/web"""

    def __init__(self, interactive_auth: InteractiveAuth) -> None:
        self._interactive_auth = interactive_auth

    async def get_fallback_page(self, request: Request) -> Response:
        """The page that performs one stage; single sign-on is confirmed on a page of the account pages."""
        if request.path_params["auth_type"] == "m.login.sso":
            session_id = query_string(request, "session", max_length=200)
            return redirect(f"/_halfdoor/account/confirm?{urlencode({'session': session_id})}", status=302)
        address = self._interactive_auth.params_of(request.path_params["auth_type"]).get("url")
        if isinstance(address, str):  # m.oauth, whose page clients are told
            return redirect(address, status=302)
        return self._form(_stage_of(request), query_string(request, "session", max_length=200))

    async def post_fallback_page(self, request: Request) -> Response:
        """The form of that page, sent. On success the page tells the client's window."""
        stage = _stage_of(request)
        try:
            fields = parse_qs(request.body.decode(), max_num_fields=10, keep_blank_values=True)
        except ValueError:
            raise InvalidParam("The form could not be read.") from None
        session_id = query_string(request, "session", None, max_length=200) or _first(fields, "session")
        auth = {
            "m.login.recaptcha": {"response": _first(fields, "g-recaptcha-response")},
            "m.login.terms": {},
            "m.login.registration_token": {"token": _first(fields, "token")},
        }[stage]
        try:
            await self._interactive_auth.complete_on_web(session_id, stage, auth, request.client_address)
        except MatrixError as error:
            if error.errcode == "M_LIMIT_EXCEEDED":
                raise
            return self._form(stage, session_id, error.message)
        nonce = secrets.token_urlsafe(16)
        script = (
            "if (window.onAuthDone) { window.onAuthDone(); } "
            'else if (window.opener && window.opener.postMessage) { window.opener.postMessage("authDone", "*"); }'
        )
        page = _page("Thank you", f'<p>You may now close this window.</p><script nonce="{nonce}">{script}</script>')
        return _html(page, nonce)

    def _form(self, stage: str, session_id: str, error: str = "") -> Response:
        nonce = secrets.token_urlsafe(16)
        params = self._interactive_auth.params_of(stage)
        fields = f'<input type="hidden" name="session" value="{html.escape(session_id)}">'
        scripts = ""
        if stage == "m.login.recaptcha":
            key = html.escape(str(params.get("public_key", "")))
            fields += f'<div class="g-recaptcha" data-sitekey="{key}"></div>'
            scripts = f'<script nonce="{nonce}" src="https://www.google.com/recaptcha/api.js" async defer></script>'
        elif stage == "m.login.terms":
            fields += _policies(params.get("policies", {}))
        else:
            fields += '<p><label>Token <input name="token" maxlength="64" autocomplete="off" required></label></p>'
        complaint = f'<p role="alert">{html.escape(error)}</p>' if error else ""
        body = f'{complaint}<form method="post">{fields}<p><button type="submit">Continue</button></p></form>{scripts}'
        return _html(_page(TITLES[stage], body), nonce, captcha=stage == "m.login.recaptcha", is_error=bool(error))


def _stage_of(request: Request) -> str:
    stage = request.path_params["auth_type"]
    if stage not in TITLES:
        raise NotFound("There is no page for this kind of authentication.")
    return stage


def _first(fields: Mapping[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[0]


def _policies(policies: Mapping[str, Any]) -> str:
    """Each document once, in English if there is, as a link to http or https alone."""
    items = []
    for policy in policies.values():
        languages = [value for value in policy.values() if isinstance(value, dict)]
        document = policy.get("en") or (languages[0] if languages else {})
        url = str(document.get("url", ""))
        if urlsplit(url).scheme in ("http", "https"):
            name = html.escape(str(document.get("name", url)))
            items.append(f'<li><a href="{html.escape(url)}" target="_blank" rel="noopener noreferrer">{name}</a></li>')
    return f"<ul>{''.join(items)}</ul>"


def _page(title: str, body: str) -> str:
    heading = html.escape(title)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{heading}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head>'
        f"<body><h1>{heading}</h1>{body}</body></html>"
    )


def _html(page: str, nonce: str, *, captcha: bool = False, is_error: bool = False) -> Response:
    sources = f" {_CAPTCHA_SOURCES}" if captcha else ""
    frames = f"frame-src {_CAPTCHA_SOURCES}; " if captcha else ""
    return Response(
        page.encode(),
        status=400 if is_error else 200,
        content_type="text/html; charset=utf-8",
        headers={
            "Content-Security-Policy": f"default-src 'none'; script-src 'nonce-{nonce}'{sources}; {frames}"
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        },
    )
