"""The page that confirms what an app wants to do: single sign-on during user-interactive authentication.

"The homeserver SHOULD confirm that the user is happy for the operation to go ahead": the page says what is asked, of
somebody who has proved who they are a moment ago (rows F04 and F05). Spec: Client-Server API, "SSO during
User-Interactive Authentication".
"""

from __future__ import annotations

import re
import secrets
from typing import Final
from urllib.parse import urlencode

from homeserver.client_api.visitors import Visitors, as_page, login_url, single
from homeserver.http.browsers import parse_form
from homeserver.http.pages import page_response, redirect
from homeserver.http.request import Request, Response
from homeserver.oauth.browser_sessions import BrowserSessions
from homeserver.oauth.identity_proofs import SSO
from homeserver.pages.forms import button, form, hidden
from homeserver.pages.html import Html, fill, join
from homeserver.pages.languages import Text
from homeserver.users.interactive_auth import InteractiveAuth

_CONFIRM = Text("Please confirm", "请确认")
_ASKS = Text("An app asks for this with your account {user}:", "某个应用请求以您的账号 {user} 进行以下操作：")
_UNEXPECTED = Text(
    "If you did not expect this, close the page: somebody may be in your account.",
    "如果这不是您的操作，请关闭此页面：您的账号可能已被他人使用。",
)
_ALLOW = Text("Allow this", "允许此操作")
_THANKS = Text("Thank you", "谢谢")
_CLOSE = Text("You may now close this window.", "现在可以关闭此窗口。")
_OTHER = Text("Something that needs your consent ({operation})", "需要您同意的操作（{operation}）")
_OPERATIONS: Final = (
    (r"DELETE .*/devices/[^/]+|POST .*/delete_devices", Text("Log out other sessions", "退出其他会话")),
    (r"POST .*/account/password", Text("Change your password", "更改您的密码")),
    (r"POST .*/account/deactivate", Text("Deactivate your account for ever", "永久停用您的账号")),
    (r"POST .*/keys/device_signing/upload", Text("Reset your cryptographic identity", "重置您的加密身份")),
    (r"POST .*/login/get_token", Text("Log in another device", "让另一台设备登录")),
    (r"POST .*/account/3pid(?:/add)?", Text("Add a contact address", "添加联系方式")),
)
_SCRIPT: Final = (
    "if (window.onAuthDone) { window.onAuthDone(); } "
    'else if (window.opener && window.opener.postMessage) { window.opener.postMessage("authDone", "*"); }'
)


class ConfirmPages:
    """/_halfdoor/account/confirm"""

    def __init__(self, visitors: Visitors, sessions: BrowserSessions, interactive_auth: InteractiveAuth) -> None:
        self._visitors = visitors
        self._sessions = sessions
        self._interactive_auth = interactive_auth

    @as_page
    async def get_confirm(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        if visitor.session is None or not self._sessions.is_fresh(visitor.session):
            return self._visitors.to_login(request, prove=True)
        session_id = single(request, "session") or ""
        operation = await self._interactive_auth.find_operation(session_id, visitor.session.user_id)
        user = fill("<code>{user}</code>", user=visitor.session.user_id)
        body = join(
            [
                fill("<p>{text}</p>", text=visitor.say(_ASKS, user=user)),
                fill("<p><strong>{what}</strong></p>", what=visitor.say(_text_of(operation), operation=operation)),
                fill('<p class="notice">{text}</p>', text=visitor.say(_UNEXPECTED)),
                form(
                    "/_halfdoor/account/confirm",
                    visitor.token(f"confirm {session_id}"),
                    hidden("session", session_id),
                    button(visitor.say(_ALLOW)),
                ),
            ]
        )
        return visitor.page(_CONFIRM, body)

    @as_page
    async def post_confirm(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        fields = parse_form(request)
        session_id = fields.get("session", "")
        visitor.browser.check(fields, f"confirm {session_id}")
        if visitor.session is None or not self._sessions.is_fresh(visitor.session):
            here = f"/_halfdoor/account/confirm?{urlencode({'session': session_id})}"
            return redirect(login_url(here, request, prove=True))
        await self._interactive_auth.complete_for(session_id, SSO, visitor.session.user_id)
        nonce = secrets.token_urlsafe(16)
        body = fill(
            '<p>{text}</p><script nonce="{nonce}">{script}</script>',
            text=visitor.say(_CLOSE),
            nonce=nonce,
            script=Html(_SCRIPT),
        )
        return page_response(visitor.language, _THANKS.of(visitor.language), body, scripts=[f"'nonce-{nonce}'"])


def _text_of(operation: str) -> Text:
    return next((text for pattern, text in _OPERATIONS if re.fullmatch(pattern, operation)), _OTHER)
