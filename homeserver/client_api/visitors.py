"""Who looks at a page of ours: the browser, who is logged in there, and the language they read."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from homeserver.http import errors
from homeserver.http.browsers import CSRF_FIELD, Browser, browser_of
from homeserver.http.pages import language_of, page_response, redirect
from homeserver.http.request import Request, Response
from homeserver.oauth.browser_sessions import BrowserSessions
from homeserver.pages.forms import hidden
from homeserver.pages.html import Html, fill
from homeserver.pages.languages import Language, Text
from homeserver.protocol.errors import Forbidden, InvalidParam, LimitExceeded, MatrixError
from homeserver.storage.browser_sessions import BrowserSession

HOME: Final = "/_halfdoor/account/manage"
_NEXT = re.compile(r"/_halfdoor/account/[a-z0-9/_-]*(?:\?[!-~]*)?")
_NEXT_LENGTH: Final = 8000

_PROBLEM = Text("That did not work", "操作未成功")
_BACK = Text("Go back and try again.", "请返回后重试。")
_PROBLEMS: Final = {
    "M_FORBIDDEN": Text("This is not allowed.", "不允许这样做。"),
    "M_NOT_FOUND": Text("There is no such thing.", "未找到。"),
    "M_USER_LOCKED": Text("This account has been locked.", "此账号已被锁定。"),
    "M_USER_DEACTIVATED": Text("This account was deactivated.", "此账号已停用。"),
    "M_LIMIT_EXCEEDED": Text("Too many tries; please wait a while.", "尝试次数过多，请稍后再试。"),
    "M_USER_IN_USE": Text("This user name is taken.", "此用户名已被使用。"),
    "M_INVALID_USERNAME": Text("This user name cannot be used.", "此用户名不可用。"),
    "M_WEAK_PASSWORD": Text("This password is too weak.", "密码强度不足。"),
    "M_EXCLUSIVE": Text("This user name is reserved.", "此用户名已被保留。"),
    "M_UNAVAILABLE": Text("The server is busy; please try again later.", "服务器繁忙，请稍后再试。"),
}

A = TypeVar("A", bound=Any)
PageHandler = Callable[[A, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who looks at a page. `session` None: nobody is logged in in this browser."""

    browser: Browser
    session: BrowserSession | None
    language: Language

    def token(self, purpose: str) -> Html:
        """The hidden field that a form needs."""
        return hidden(CSRF_FIELD, self.browser.token(purpose))

    def say(self, text: Text, **values: object) -> Html:
        """A sentence in the visitor's language; `values` are escaped."""
        return fill(text.of(self.language), **values)

    def page(
        self, title: Text, body: Html, *, status: int = 200, form_targets: Iterable[str] = (), **values: object
    ) -> Response:
        """A page. `values` are for the title."""
        named = title.of(self.language).format(**values)
        return page_response(
            self.language, named, body, status=status, headers=self.browser.headers(), form_targets=form_targets
        )


@dataclass(frozen=True, slots=True)
class Visitors:
    """Knows visitors by their browser's cookie."""

    sessions: BrowserSessions
    is_secure: bool

    async def of(self, request: Request) -> Visitor:
        browser = browser_of(request, is_secure=self.is_secure)
        session = None if browser.is_new else await self.sessions.find(browser.secret)
        return Visitor(browser, session, language_of(request))

    def to_login(self, request: Request, *, prove: bool = False, register: bool = False) -> Response:
        """To the login page, and from there back to this one. `prove`: who is logged in must show it once more."""
        return redirect(login_url(this_page(request), request, prove=prove, register=register))


def this_page(request: Request) -> str:
    """Path and query of the page that was asked for."""
    query = urlencode(request.query, doseq=True)
    return f"{request.path}?{query}" if query else request.path


def login_url(
    next_page: str, request: Request, *, prove: bool = False, register: bool = False, other: bool = False
) -> str:
    """The login (or registration) page, which leads on to `next_page`. `other`: also who is logged in is asked."""
    parameters = {"next": next_page}
    if prove or other:
        parameters["prove" if prove else "other"] = "1"
    if "ui_locales" in request.query:
        parameters["ui_locales"] = request.query["ui_locales"][0][:200]
    return f"/_halfdoor/account/{'register' if register else 'login'}?{urlencode(parameters)}"


def next_page(value: str | None) -> str:
    """Where a login leads on to: one of our own account pages and nothing else (row F08: no open redirect)."""
    if value is None or len(value) > _NEXT_LENGTH or not _NEXT.fullmatch(value):
        return HOME
    return value


def single(request: Request, name: str) -> str | None:
    """A query parameter of a page. Raises InvalidParam when it is given twice."""
    values = request.query.get(name, [])
    if len(values) > 1:
        raise InvalidParam(f"The query parameter {name!r} may be given only once.")
    return values[0] if values else None


def digest_of(text: str) -> str:
    """For the purpose of a form that belongs to one request."""
    return hashlib.sha256(text.encode()).hexdigest()


def problem_of(language: Language, error: MatrixError) -> str:
    """An error as a sentence for people: what the server says in English, and at least its kind in Chinese."""
    known = _PROBLEMS.get(error.errcode)
    if language == "zh":
        return (known or _BACK).of(language)
    return error.message or (known or _BACK).of(language)


def as_page(handler: PageHandler[A]) -> PageHandler[A]:
    """Errors of a page's handler as a page."""

    @functools.wraps(handler)
    async def answer(self: A, request: Request) -> Response:
        try:
            if request.method == "POST" and request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
                raise Forbidden(
                    "This form was sent from another site."
                )  # what today's browsers say by themselves (F14)
            return await handler(self, request)
        except MatrixError as error:
            language = language_of(request)
            body = fill(
                '<p class="error" role="alert">{problem}</p><p>{back}</p>',
                problem=problem_of(language, error),
                back=_BACK.of(language),
            )
            headers = errors.headers_of(error) if isinstance(error, LimitExceeded) else {}
            return page_response(language, _PROBLEM.of(language), body, status=errors.status_of(error), headers=headers)

    return answer
