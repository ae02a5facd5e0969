"""The pages to log in, to register and to log out. Passwords are guessed here no faster than at /login (row D13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from homeserver.client_api.visitors import Visitor, Visitors, as_page, login_url, next_page, problem_of, single
from homeserver.http.browsers import new_browser, parse_form
from homeserver.http.pages import redirect
from homeserver.http.request import Request, Response
from homeserver.oauth.browser_sessions import BrowserSessions
from homeserver.pages.forms import button, checkbox, error, field, form, link_button
from homeserver.pages.html import Html, fill, join
from homeserver.pages.languages import Text
from homeserver.protocol.errors import Forbidden, InteractiveAuthNeeded, InvalidParam, MatrixError
from homeserver.protocol.identifiers import localpart_of
from homeserver.users.interactive_auth import Operation
from homeserver.users.login import Logins
from homeserver.users.registration import Registration, RegistrationWish

_LOG_IN = Text("Log in", "登录")
_PROVE = Text("Please confirm that it is you", "请确认是您本人")
_USER = Text("User name", "用户名")
_USER_OR_EMAIL = Text("User name or e-mail address", "用户名或电子邮箱")
_PASSWORD = Text("Password", "密码")
_WRONG = Text("The user name or the password is wrong.", "用户名或密码错误。")
_OR = Text("Or continue with", "或者使用以下方式继续")
_WITH = Text("Continue with {name}", "使用 {name} 继续")
_NO_ACCOUNT = Text("No account yet?", "还没有账号？")
_REGISTER = Text("Create an account", "创建账号")
_HAVE_ACCOUNT = Text("I have an account", "我已有账号")
_TOKEN = Text("Registration token", "注册令牌")
_ACCEPT = Text("I accept:", "我同意：")
_NOT_OTHER = Text("This is not the person who is logged in here.", "这不是此处已登录的用户。")
_PAGE_STAGES = {"m.login.dummy", "m.login.terms", "m.login.registration_token"}


@dataclass(frozen=True, slots=True)
class ProviderLink:
    """An identity provider as the login page shows it."""

    id: str
    name: str


class LoginPages:
    """/_halfdoor/account/login, /register and /logout."""

    def __init__(
        self,
        visitors: Visitors,
        sessions: BrowserSessions,
        logins: Logins,
        registration: Registration,
        providers: Sequence[ProviderLink],
        *,
        takes_passwords: bool = True,
    ) -> None:
        self._visitors = visitors
        self._sessions = sessions
        self._logins = logins
        self._registration = registration
        self._providers = providers
        self._takes_passwords = takes_passwords

    @as_page
    async def get_login(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        if visitor.session is not None and not request.query.keys() & {"prove", "other"}:
            return redirect(next_page(single(request, "next")))
        return self._login_form(request, visitor)

    @as_page
    async def log_in(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        fields = parse_form(request)
        visitor.browser.check(fields, "login")
        try:
            typed = await self._user_of(fields.get("user", "").strip())
            user_id = await self._logins.identify(typed, fields.get("password", ""), request.client_address)
            if single(request, "prove") is not None and visitor.session and visitor.session.user_id != user_id:
                raise Forbidden(_NOT_OTHER.of(visitor.language))
        except MatrixError as problem:
            said = _WRONG.of(visitor.language) if problem.errcode == "M_FORBIDDEN" else None
            status = 429 if problem.errcode == "M_LIMIT_EXCEEDED" else 403
            said = said or problem_of(visitor.language, problem)
            return self._login_form(request, visitor, said, fields.get("user", ""), status)
        return await self._logged_in(visitor, user_id, next_page(single(request, "next")))

    @as_page
    async def get_register(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        self._check_may_register()
        return self._register_form(request, visitor)

    @as_page
    async def register(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        self._check_may_register()
        fields = parse_form(request)
        visitor.browser.check(fields, "register")
        try:
            user_id = await self._create_account(fields, request.client_address)
        except MatrixError as problem:
            status = 429 if problem.errcode == "M_LIMIT_EXCEEDED" else 400
            said = problem_of(visitor.language, problem)
            return self._register_form(request, visitor, said, fields.get("user", ""), status)
        return await self._logged_in(visitor, user_id, next_page(single(request, "next")))

    @as_page
    async def log_out(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        fields = parse_form(request)
        visitor.browser.check(fields, "logout")
        await self._sessions.end(visitor.browser.secret)
        browser = new_browser(is_secure=visitor.browser.is_secure)
        return redirect(login_url(next_page(fields.get("next")), request), headers=browser.headers())

    async def _user_of(self, typed: str) -> str:
        """The user that somebody typed: a user id, its localpart, or an e-mail address. Raises Forbidden."""
        if "@" not in typed[1:]:
            return typed
        identifier = {"type": "m.id.thirdparty", "medium": "email", "address": typed}
        return await self._logins.find_identified({"identifier": identifier}) or typed

    @property
    def may_register(self) -> bool:
        """Whether the registration page can ask for everything that registration needs."""
        return self._registration.settings.is_open and self._flow() is not None

    def _flow(self) -> list[str] | None:
        return next((flow for flow in self._registration.flows() if set(flow) <= _PAGE_STAGES), None)

    def _check_may_register(self) -> None:
        if not self.may_register:
            raise Forbidden("Registration is closed on this server; ask its operator for an account.")

    async def _logged_in(self, visitor: Visitor, user_id: str, leads_to: str) -> Response:
        """A new cookie at every login: nobody can have planted it (session fixation)."""
        browser = new_browser(is_secure=visitor.browser.is_secure)
        await self._sessions.end(visitor.browser.secret)
        await self._sessions.open(browser.secret, user_id)
        return redirect(leads_to, headers=browser.headers())

    async def _create_account(self, fields: Mapping[str, str], client_address: str) -> str:
        """By the one registration path, with the one flow that it asks for (row F09)."""
        username, password = fields.get("user", "").strip(), fields.get("password", "")
        if not username or not password:
            raise InvalidParam("A user name and a password are needed.")
        wish = RegistrationWish(username, password, login=None)
        proofs: dict[str, dict[str, Any]] = {
            "m.login.registration_token": {"token": fields.get("token", "").strip()},
            "m.login.dummy": {},
        }
        if "accept" in fields:
            proofs["m.login.terms"] = {}
        session: str | None = None
        stages: Sequence[str | None] = (None, *(self._flow() or ()))
        for stage in stages:
            if stage is not None and stage not in proofs:
                raise Forbidden("The terms must be accepted.")
            auth = {} if stage is None else {"auth": {**proofs[stage], "type": stage, "session": session}}
            try:
                operation = Operation("POST", "/_halfdoor/account/register", auth, client_address)
                return (await self._registration.register(operation, wish)).user_id
            except InteractiveAuthNeeded as needed:
                body = needed.body()
                session = str(body["session"])
                if "errcode" in body:
                    raise Forbidden(str(body.get("error", ""))) from None
        raise Forbidden("Registration asks for more than this page can give; use an app.")

    def _login_form(
        self, request: Request, visitor: Visitor, problem: str | None = None, user: str = "", status: int = 200
    ) -> Response:
        proving = single(request, "prove") is not None and visitor.session is not None
        leads_to = next_page(single(request, "next"))
        parts = [error(problem)]
        if proving and visitor.session is not None:
            user = localpart_of(visitor.session.user_id)
        if self._takes_passwords:
            parts.append(
                form(
                    login_url(leads_to, request, prove=proving),
                    visitor.token("login"),
                    field(visitor.say(_USER_OR_EMAIL), "user", value=user, autocomplete="username", max_length=255),
                    field(visitor.say(_PASSWORD), "password", kind="password", autocomplete="current-password"),
                    button(visitor.say(_LOG_IN)),
                )
            )
        if self._providers:
            parts.append(fill("<h2>{text}</h2>", text=visitor.say(_OR)))
        for provider in self._providers:
            parameters = {"next": leads_to, **({"prove": "1"} if proving else {})}
            url = f"/_halfdoor/account/providers/{provider.id}?{urlencode(parameters)}"
            parts.append(link_button(visitor.say(_WITH, name=provider.name), url))
        if self.may_register and not proving:
            url = login_url(leads_to, request, register=True)
            parts.append(fill("<h2>{text}</h2>", text=visitor.say(_NO_ACCOUNT)))
            parts.append(link_button(visitor.say(_REGISTER), url))
        return visitor.page(_PROVE if proving else _LOG_IN, join(parts), status=status)

    def _register_form(
        self, request: Request, visitor: Visitor, problem: str | None = None, user: str = "", status: int = 200
    ) -> Response:
        leads_to = next_page(single(request, "next"))
        settings = self._registration.settings
        parts = [
            visitor.token("register"),
            field(visitor.say(_USER), "user", value=user, autocomplete="username", max_length=255),
            field(visitor.say(_PASSWORD), "password", kind="password", autocomplete="new-password"),
        ]
        if settings.needs_token:
            parts.append(field(visitor.say(_TOKEN), "token", max_length=64))
        if settings.policies:
            names = join(_policy_links(settings.policies, visitor.language))
            parts.append(
                checkbox(fill("{text} {names}", text=visitor.say(_ACCEPT), names=names), "accept", required=True)
            )
        parts.append(button(visitor.say(_REGISTER)))
        body = [
            error(problem),
            form(login_url(leads_to, request, register=True), *parts),
            link_button(visitor.say(_HAVE_ACCOUNT), login_url(leads_to, request)),
        ]
        return visitor.page(_REGISTER, join(body), status=status)


def _policy_links(policies: Mapping[str, Any], language: str) -> list[Html]:
    links = []
    for policy in policies.values():
        languages = {name: value for name, value in policy.items() if isinstance(value, dict)}
        document = languages.get(language) or languages.get("en") or next(iter(languages.values()), {})
        url = str(document.get("url", ""))
        if url.startswith(("https://", "http://")):
            links.append(
                fill(
                    '<a href="{url}" target="_blank" rel="noopener noreferrer">{name}</a> ',
                    url=url,
                    name=str(document.get("name", url)),
                )
            )
    return links
