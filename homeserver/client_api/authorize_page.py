"""The pages where a person lets an app in: the authorization endpoint, and the page where a device's code is typed.

What the person sees names the app as it named itself, but also the host that the app was registered for and where the
browser goes: those cannot be made up. Spec: Client-Server API, "Authorisation code flow", "Device authorisation flow".
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

from homeserver.client_api.visitors import Visitor, Visitors, as_page, digest_of, login_url, single
from homeserver.http.browsers import parse_form
from homeserver.http.pages import redirect
from homeserver.http.request import Request, Response
from homeserver.oauth.authorization import Authorization, AuthorizationRefused, AuthorizationRequest
from homeserver.oauth.client_metadata import form_target_of, localized, origin_of
from homeserver.oauth.device_codes import DeviceCodes
from homeserver.pages.forms import button, error, field, form, hidden, link_button
from homeserver.pages.html import Html, fill, join
from homeserver.pages.languages import Text
from homeserver.protocol.errors import InvalidParam, NotFound, Unrecognized
from homeserver.storage.oauth_clients import OAuthClient

_ALLOW_APP = Text("Allow this app?", "允许此应用吗？")
_ASKS = Text(
    "The app {name} of {host} asks for access to your account {user}.",
    "来自 {host} 的应用 {name} 请求访问您的账号 {user}。",
)
_CAN = Text(
    "It will be able to read and send all your messages and to change your account, as the session {device}.",
    "它将以会话 {device} 的身份读取和发送您的所有消息，并可更改您的账号。",
)
_GOES_TO = Text("Your browser then goes to {target}.", "之后浏览器将前往 {target}。")
_TRUST = Text("Allow it only if you have just asked this app to log you in.", "仅当您刚刚要求此应用登录时才允许。")
_CODE_IS = Text("Your device must show the code {code}.", "您的设备应显示代码 {code}。")
_ALLOW = Text("Allow", "允许")
_DENY = Text("Do not allow", "不允许")
_NOT_YOU = Text("Use another account", "使用其他账号")
_POLICY = Text("Privacy policy", "隐私政策")
_TERMS = Text("Terms of service", "服务条款")
_REFUSED = Text("This app cannot be let in", "无法允许此应用")
_REFUSED_WHY = Text("The app made a mistake: {why}", "应用发出的请求有误：{why}")
_TYPE_CODE = Text("Connect a device", "连接设备")
_CODE = Text("The code that your device shows", "设备上显示的代码")
_CONTINUE = Text("Continue", "继续")
_UNKNOWN_CODE = Text("This code is unknown or too old.", "此代码不存在或已过期。")
_DONE = Text("Your device is connected", "设备已连接")
_DONE_WHY = Text("You can close this page and go on there.", "您可以关闭此页面，在设备上继续。")
_DENIED = Text("The device was not let in", "未允许该设备")


class AuthorizePages:
    """/_halfdoor/account/authorize and /link."""

    def __init__(
        self, visitors: Visitors, authorization: Authorization, device_codes: DeviceCodes, *, is_enabled: bool
    ) -> None:
        self._visitors = visitors
        self._authorization = authorization
        self._device_codes = device_codes
        self._is_enabled = is_enabled

    @as_page
    async def get_authorize(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        query = {name: single(request, name) or "" for name in request.query}
        judged = await self._judge(visitor, query)
        if isinstance(judged, Response):
            return judged
        if visitor.session is None:
            return self._visitors.to_login(request, register=judged.wants_account)
        return self._consent(request, visitor, judged, urlencode(query))

    @as_page
    async def post_authorize(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        fields = parse_form(request)
        query = fields.get("query", "")
        visitor.browser.check(fields, f"authorize {digest_of(query)}")
        try:
            parsed = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=100))
        except ValueError:
            raise InvalidParam("The form could not be read.") from None
        judged = await self._judge(visitor, parsed)
        if isinstance(judged, Response):
            return judged
        if visitor.session is None:
            return redirect(login_url(f"/_halfdoor/account/authorize?{query}", request))
        if fields.get("answer") == "allow":
            return redirect(await self._authorization.allow(judged, visitor.session))
        return redirect(self._authorization.deny(judged))

    @as_page
    async def get_link(self, request: Request) -> Response:
        self._check_enabled()
        visitor = await self._visitors.of(request)
        if visitor.session is None:
            return self._visitors.to_login(request)
        typed = single(request, "user_code")
        return self._ask_code(visitor) if not typed else await self._device_consent(request, visitor, typed)

    @as_page
    async def post_link(self, request: Request) -> Response:
        self._check_enabled()
        visitor = await self._visitors.of(request)
        fields = parse_form(request)
        typed = fields.get("user_code", "")
        if visitor.session is None:
            here = f"/_halfdoor/account/link?{urlencode({'user_code': typed})}"
            return redirect(login_url(here, request))
        if "answer" not in fields:
            visitor.browser.check(fields, "link")
            return await self._device_consent(request, visitor, typed)
        visitor.browser.check(fields, f"device {typed}")
        allowed = fields["answer"] == "allow"
        try:
            code, _ = await self._device_codes.find(typed, visitor.session, request.client_address)
            await self._device_codes.decide(code, visitor.session, allowed=allowed)
        except NotFound:
            return self._ask_code(visitor, visitor.say(_UNKNOWN_CODE))
        if not allowed:
            return visitor.page(_DENIED, Html(""))
        return visitor.page(_DONE, fill("<p>{text}</p>", text=visitor.say(_DONE_WHY)))

    def _check_enabled(self) -> None:
        if not self._is_enabled:
            raise Unrecognized("This server does not offer the OAuth 2.0 API.")

    async def _judge(self, visitor: Visitor, query: Mapping[str, str]) -> AuthorizationRequest | Response:
        self._check_enabled()
        try:
            return await self._authorization.judge(query)
        except AuthorizationRefused as refused:
            if refused.location is not None:
                return redirect(refused.location)
            why = f"{refused} ({refused.error})"
            return visitor.page(_REFUSED, error(visitor.say(_REFUSED_WHY, why=why)), status=400)

    def _consent(self, request: Request, visitor: Visitor, judged: AuthorizationRequest, query: str) -> Response:
        target = origin_of(judged.redirect_uri)
        body = join(
            [
                self._description(visitor, judged.client, judged.scope.device_id),
                fill('<p class="small">{text}</p>', text=visitor.say(_GOES_TO, target=_code(target))),
                form(
                    "/_halfdoor/account/authorize",
                    visitor.token(f"authorize {digest_of(query)}"),
                    hidden("query", query),
                    *_answers(visitor),
                ),
                _other_account(visitor, request, f"{request.path}?{query}"),
            ]
        )
        return visitor.page(_ALLOW_APP, body, form_targets=[form_target_of(judged.redirect_uri)])

    async def _device_consent(self, request: Request, visitor: Visitor, typed: str) -> Response:
        assert visitor.session is not None
        try:
            code, client = await self._device_codes.find(typed, visitor.session, request.client_address)
        except NotFound:
            return self._ask_code(visitor, visitor.say(_UNKNOWN_CODE), status=404)
        body = join(
            [
                fill("<p>{text}</p>", text=visitor.say(_CODE_IS, code=_code(typed.upper()))),
                self._description(visitor, client, code.device_id),
                form(
                    "/_halfdoor/account/link",
                    visitor.token(f"device {typed}"),
                    hidden("user_code", typed),
                    *_answers(visitor),
                ),
                _other_account(visitor, request, f"/_halfdoor/account/link?{urlencode({'user_code': typed})}"),
            ]
        )
        return visitor.page(_ALLOW_APP, body)

    def _ask_code(self, visitor: Visitor, problem: str | None = None, status: int = 200) -> Response:
        asked = form(
            "/_halfdoor/account/link",
            visitor.token("link"),
            field(visitor.say(_CODE), "user_code", max_length=32, css="code"),
            button(visitor.say(_CONTINUE)),
        )
        return visitor.page(_TYPE_CODE, join([error(problem), asked]), status=status)

    def _description(self, visitor: Visitor, client: OAuthClient, device_id: str) -> Html:
        assert visitor.session is not None
        metadata, language = client.metadata, visitor.language
        host = urlsplit(metadata["client_uri"]).netloc
        name = localized(metadata, "client_name", language) or host
        strong = fill("<strong>{name}</strong>", name=name)
        place = fill(
            '<a href="{url}" target="_blank" rel="noopener noreferrer">{host}</a>',
            url=metadata["client_uri"],
            host=host,
        )
        asks = visitor.say(_ASKS, name=strong, host=place, user=_code(visitor.session.user_id))
        links = join(
            fill(
                '<a href="{url}" target="_blank" rel="noopener noreferrer">{text}</a> ',
                url=str(localized(metadata, member, language)),
                text=visitor.say(text),
            )
            for member, text in (("policy_uri", _POLICY), ("tos_uri", _TERMS))
            if member in metadata
        )
        return fill(
            '<p>{asks}</p><p>{can}</p><p class="notice">{trust}</p><p class="small">{links}</p>',
            asks=asks,
            can=visitor.say(_CAN, device=_code(device_id)),
            trust=visitor.say(_TRUST),
            links=links,
        )


def _answers(visitor: Visitor) -> tuple[Html, Html]:
    return (
        button(visitor.say(_ALLOW), name="answer", value="allow"),
        button(visitor.say(_DENY), name="answer", value="deny", css="quiet"),
    )


def _other_account(visitor: Visitor, request: Request, leads_to: str) -> Html:
    return link_button(visitor.say(_NOT_YOU), login_url(leads_to, request, other=True))


def _code(text: str) -> Html:
    return fill("<code>{text}</code>", text=text)
