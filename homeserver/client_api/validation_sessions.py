"""Confirming e-mail addresses: every .../requestToken, and the page that the link in the e-mail leads to.

The link asks before it does anything: programs that look at e-mails before people do follow links, but press no
button. The form needs no cookie of the browser: the link's code is what nobody else has (row F14).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from homeserver.http.browsers import parse_form
from homeserver.http.pages import language_of, page_response, redirect
from homeserver.http.parsing import parse_body, query_string
from homeserver.http.request import Request, Response
from homeserver.pages.forms import button, form, hidden
from homeserver.pages.html import Html, fill, join
from homeserver.pages.languages import Language, Text
from homeserver.protocol.errors import InvalidParam, MatrixError
from homeserver.storage.validation_sessions import ValidationSession
from homeserver.users.registration import Registration
from homeserver.users.validation_sessions import CONFIRM_PATH, EmailToValidate, ValidationSessions

_ASK: Final[Mapping[str, Text]] = {
    "register": Text("Confirm that {address} is your address?", "确认 {address} 是您的邮箱地址吗？"),
    "add": Text(
        "Confirm that {address} is your address, and add it to the account that asked for it?",
        "确认 {address} 是您的邮箱地址，并将其添加到发起请求的账号吗？",
    ),
    "password": Text(
        "Allow a new password for the account of {address}? Do so only if you have asked for it yourself.",
        "允许为 {address} 对应的账号设置新密码吗？请仅在您本人发起请求时这样做。",
    ),
}
_TITLE = Text("Confirm your e-mail address", "确认电子邮箱地址")
_RESET_TITLE = Text("Reset your password", "重置密码")
_CONFIRM = Text("Confirm", "确认")
_ALLOW = Text("Allow", "允许")
_DONE_TITLE = Text("Thank you", "谢谢")
_DONE = Text("You may close this page and go back to your app.", "您可以关闭此页面，回到您的应用。")
_FAILED_TITLE = Text("This link does not work", "链接无效")
_FAILED = Text(
    "It was used already, or is too old. Go back to your app and ask for a new one.",
    "它已被使用过，或已过期。请回到您的应用，重新获取链接。",
)


_Attempt = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class _EmailBody(msgspec.Struct):
    client_secret: str
    email: str
    send_attempt: _Attempt
    next_link: str | None = None


class _PhoneBody(msgspec.Struct):
    client_secret: str
    country: str
    phone_number: str
    send_attempt: _Attempt


class ValidationApi:
    """.../requestToken, and the page of the link."""

    def __init__(self, sessions: ValidationSessions, registration: Registration) -> None:
        self._sessions = sessions
        self._registration = registration

    async def request_register_email(self, request: Request) -> Response:
        wanted = _wanted(request)
        return Response({"sid": await self._registration.request_email(wanted, language_of(request))})

    async def request_password_email(self, request: Request) -> Response:
        wanted = _wanted(request)
        return Response({"sid": await self._sessions.request_email("password", wanted, language_of(request))})

    async def request_added_email(self, request: Request) -> Response:
        wanted = _wanted(request)
        return Response({"sid": await self._sessions.request_email("add", wanted, language_of(request))})

    async def request_phone(self, request: Request) -> Response:
        """Every msisdn/requestToken: there is nothing here that sends text messages, and the answer says so."""
        parse_body(request, _PhoneBody)
        self._sessions.refuse_phone_number()

    async def get_page(self, request: Request) -> Response:
        """What the link leads to."""
        language = language_of(request)
        sid, token = query_string(request, "sid"), query_string(request, "token")
        try:
            session = await self._sessions.find_by_link(sid, token)
        except InvalidParam:
            return _failed(language)
        is_reset = session.purpose == "password"
        body = join(
            (
                fill("<p>{ask}</p>", ask=fill(_ASK[session.purpose].of(language), address=session.address)),
                form(
                    CONFIRM_PATH,
                    hidden("sid", sid),
                    hidden("token", token),
                    button((_ALLOW if is_reset else _CONFIRM).of(language)),
                ),
            )
        )
        title = _RESET_TITLE if is_reset else _TITLE
        targets = []
        if session.next_link is not None:  # its host is one that the operator has named
            parts = urlsplit(session.next_link)
            targets.append(f"{parts.scheme}://{parts.netloc}")
        return page_response(language, title.of(language), body, form_targets=targets)

    async def post_page(self, request: Request) -> Response:
        """The button was pressed."""
        language = language_of(request)
        try:
            fields = parse_form(request, max_fields=10)
            session = await self._sessions.confirm(fields.get("sid", ""), fields.get("token", ""))
        except MatrixError:
            return _failed(language)
        return _done(language, session)


def _wanted(request: Request) -> EmailToValidate:
    body = parse_body(request, _EmailBody)
    return EmailToValidate(body.client_secret, body.email, body.send_attempt, body.next_link)


def _done(language: Language, session: ValidationSession) -> Response:
    if session.next_link is not None:
        return redirect(session.next_link)
    return page_response(language, _DONE_TITLE.of(language), fill("<p>{done}</p>", done=_DONE.of(language)))


def _failed(language: Language) -> Response:
    body: Html = fill('<p class="error" role="alert">{failed}</p>', failed=_FAILED.of(language))
    return page_response(language, _FAILED_TITLE.of(language), body, status=400)
