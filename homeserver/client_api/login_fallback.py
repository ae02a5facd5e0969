"""The page that logs people in for clients that know no login flow of this server.

"This returns an HTML and JavaScript page which can perform the entire login process. The page will attempt to call the
JavaScript function `window.matrixLogin.onLogin(response)`". Spec: Client-Server API, "Login Fallback".
"""

from __future__ import annotations

import json
import secrets
from typing import Final
from urllib.parse import urlencode

from homeserver.http.pages import language_of, page_response
from homeserver.http.request import Request, Response
from homeserver.pages.forms import button, field, link_button
from homeserver.pages.html import Html, fill
from homeserver.pages.languages import Text

PATH: Final = "/_matrix/static/client/login/"
_HANDED_ON: Final = ("device_id", "initial_device_display_name", "refresh_token")
_TITLE = Text("Log in", "登录")
_USER = Text("User name", "用户名")
_PASSWORD = Text("Password", "密码")
_SSO = Text("Log in another way", "使用其他方式登录")
_WRONG = Text("The login failed.", "登录失败。")
_SCRIPT: Final = """
const given = JSON.parse(document.getElementById("given").textContent);
async function logIn(body) {
    const answer = await fetch("/_matrix/client/v3/login", { method: "POST", body: JSON.stringify({ ...given.more, ...body }) });
    if (!answer.ok) {
        document.getElementById("problem").hidden = false;
        return;
    }
    const found = await answer.json();
    history.replaceState(null, "", location.pathname);
    if (window.matrixLogin && window.matrixLogin.onLogin) window.matrixLogin.onLogin(found);
}
document.getElementById("password").addEventListener("submit", (event) => {
    event.preventDefault();
    const fields = new FormData(event.target);
    const identifier = { type: "m.id.user", user: fields.get("user") };
    logIn({ type: "m.login.password", identifier, password: fields.get("password") });
});
if (given.token) logIn({ type: "m.login.token", token: given.token });
"""  # noqa: E501


class LoginFallback:
    """/_matrix/static/client/login/"""

    def __init__(self, base_url: str | None, *, has_sso: bool) -> None:
        self._base_url = base_url
        self._has_sso = has_sso

    async def get_page(self, request: Request) -> Response:
        """ "Non-credential parameters valid for the `/login` endpoint can be provided as query string parameters
        here." """
        language = language_of(request)
        handed = {name: request.query[name][0] for name in _HANDED_ON if name in request.query}
        more = {name: value == "true" if name == _HANDED_ON[2] else value for name, value in handed.items()}
        told = {"more": more, "token": request.query.get("loginToken", [None])[0]}
        nonce = secrets.token_urlsafe(16)
        sso = Html("")
        if self._has_sso and self._base_url is not None:
            back = f"{self._base_url}{PATH}{'?' + urlencode(handed) if handed else ''}"
            sso = link_button(
                _SSO.of(language), f"/_matrix/client/v3/login/sso/redirect?{urlencode({'redirectUrl': back})}"
            )
        body = fill(
            '<p class="error" role="alert" id="problem" hidden>{wrong}</p><form id="password">{user}{password}{send}'
            '</form>{sso}<script type="application/json" id="given">{told}</script>'
            '<script nonce="{nonce}">{script}</script>',
            wrong=_WRONG.of(language),
            user=field(_USER.of(language), "user", autocomplete="username", max_length=255),
            password=field(_PASSWORD.of(language), "password", kind="password", autocomplete="current-password"),
            send=button(_TITLE.of(language)),
            sso=sso,
            told=_json(told),
            nonce=nonce,
            script=Html(_SCRIPT),
        )
        return page_response(language, _TITLE.of(language), body, scripts=[f"'nonce-{nonce}'"], connects=True)


def _json(value: object) -> Html:
    """JSON inside a script element: what could end the element, or begin a comment in it, is written as escapes."""
    text = json.dumps(value)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(text)
