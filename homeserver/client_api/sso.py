"""Single sign-on for clients of the legacy API: from the client to our login page and back with a login token.

A token is given to nobody by a redirect alone: the page names where it goes, and a person says yes (row F08). Spec:
Client-Server API, "SSO client login/authentication".
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from homeserver.client_api.visitors import Visitors, as_page, digest_of, login_url, single
from homeserver.http.browsers import parse_form
from homeserver.http.pages import redirect
from homeserver.http.request import Request, Response
from homeserver.oauth.client_metadata import form_target_of, origin_of
from homeserver.pages.forms import button, form, hidden, link_button
from homeserver.pages.html import fill, join
from homeserver.pages.languages import Text
from homeserver.protocol.errors import InvalidParam, MissingParam, NotFound, Unrecognized
from homeserver.sso.identities import Identities
from homeserver.users.login import Logins
from homeserver.users.requester import Requester

LOGIN_TOKEN_LIFETIME_MS: Final = 20_000
"""Spec: "The lifetime of this token SHOULD be limited to around five seconds"; slow phones on slow nets need some more,
and the token serves once."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,100}:")
_NEVER: Final = ("javascript", "data", "vbscript", "file", "blob", "about", "filesystem", "view-source", "jar")
_LENGTH: Final = 4096

_CONTINUE = Text("Continue to your app?", "继续前往您的应用吗？")
_GIVES = Text(
    "The app at {target} gets access to your account {user}.",
    "位于 {target} 的应用将获得您账号 {user} 的访问权限。",
)
_TRUST = Text(
    "Continue only if you know this app and have just asked it to log you in.",
    "仅当您了解此应用并且刚刚要求它登录时才继续。",
)
_YES = Text("Continue", "继续")
_NOT_YOU = Text("Use another account", "使用其他账号")


class SsoPages:
    """/login/sso/redirect, and /_halfdoor/account/sso where it ends."""

    def __init__(
        self,
        visitors: Visitors,
        logins: Logins,
        identities: Identities,
        provider_ids: Collection[str],
        *,
        is_offered: bool,
    ) -> None:
        self._visitors = visitors
        self._logins = logins
        self._identities = identities
        self._provider_ids = provider_ids
        self._is_offered = is_offered

    async def redirect_to_login(self, request: Request) -> Response:
        """`/login/sso/redirect`: the login page has passwords and every provider."""
        there = self._page_after_login(request)
        wants_account = single(request, "action") == "register"
        return redirect(login_url(there, request, register=wants_account, other=True), status=302)

    @as_page
    async def redirect_to_provider(self, request: Request) -> Response:
        """`/login/sso/redirect/{idpId}`"""
        there = self._page_after_login(request)
        provider_id = request.path_params["idp_id"]
        if provider_id not in self._provider_ids:
            raise NotFound("This server does not know that identity provider.")
        return redirect(f"/_halfdoor/account/providers/{provider_id}?{urlencode({'next': there})}", status=302)

    @as_page
    async def get_sso(self, request: Request) -> Response:
        self._check_offered()
        url = checked_redirect_url(single(request, "redirectUrl"))
        visitor = await self._visitors.of(request)
        if visitor.session is None:
            return self._visitors.to_login(request)
        target = origin_of(url)
        user = fill("<code>{user}</code>", user=visitor.session.user_id)
        here = f"/_halfdoor/account/sso?{urlencode({'redirectUrl': url})}"
        body = join(
            [
                fill("<p>{text}</p>", text=visitor.say(_GIVES, target=fill("<code>{t}</code>", t=target), user=user)),
                fill('<p class="notice">{text}</p>', text=visitor.say(_TRUST)),
                form(
                    "/_halfdoor/account/sso",
                    visitor.token(f"sso {digest_of(url)}"),
                    hidden("redirectUrl", url),
                    button(visitor.say(_YES)),
                ),
                link_button(visitor.say(_NOT_YOU), login_url(here, request, other=True)),
            ]
        )
        return visitor.page(_CONTINUE, body, form_targets=[form_target_of(url)])

    @as_page
    async def post_sso(self, request: Request) -> Response:
        self._check_offered()
        visitor = await self._visitors.of(request)
        fields = parse_form(request)
        url = checked_redirect_url(fields.get("redirectUrl"))
        visitor.browser.check(fields, f"sso {digest_of(url)}")
        if visitor.session is None:
            return redirect(login_url(f"/_halfdoor/account/sso?{urlencode({'redirectUrl': url})}", request))
        requester = Requester(visitor.session.user_id)
        token, _ = await self._logins.create_login_token(requester, LOGIN_TOKEN_LIFETIME_MS)
        if visitor.session.provider_id is not None:
            await self._identities.note_login_token(token, visitor.session.session_hash, LOGIN_TOKEN_LIFETIME_MS)
        return redirect(with_login_token(url, token))

    def _page_after_login(self, request: Request) -> str:
        self._check_offered()
        url = checked_redirect_url(single(request, "redirectUrl"))
        return f"/_halfdoor/account/sso?{urlencode({'redirectUrl': url})}"

    def _check_offered(self) -> None:
        if not self._is_offered:
            raise Unrecognized("This server does not offer single sign-on.")


def checked_redirect_url(url: str | None) -> str:
    """The address of a client: a web page, or the scheme of an app; never one that runs in our own origin.
    Raises MissingParam, InvalidParam."""
    if url is None:
        raise MissingParam("The query parameter 'redirectUrl' is required.")
    scheme = _SCHEME.match(url)
    if len(url) > _LENGTH or scheme is None or not all(0x21 <= ord(each) <= 0x7E for each in url):
        raise InvalidParam("'redirectUrl' must be an address in printable ASCII characters.")
    name = scheme[0][:-1].lower()
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise InvalidParam("'redirectUrl' is malformed.") from None
    is_web = name in ("http", "https")
    if name in _NEVER or (is_web and (not parts.hostname or "@" in parts.netloc or "\\" in url)):
        raise InvalidParam("'redirectUrl' must be the address of a web page or of an app.")
    return url


def with_login_token(url: str, token: str) -> str:
    """ "If it already includes one or more `loginToken` parameters, they should be removed before adding the new
    one." """
    rest, hash_mark, fragment = url.partition("#")
    path, _, query = rest.partition("?")
    kept = [pair for pair in query.split("&") if pair and pair.partition("=")[0] != "loginToken"]
    pairs = "&".join([*kept, f"loginToken={quote(token, safe='')}"])
    return f"{path}?{pairs}{hash_mark}{fragment}"
