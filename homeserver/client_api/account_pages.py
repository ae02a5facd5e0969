"""The account pages: profile, sessions, and what must not happen by accident. Clients lead here by links with `action`.

"Because the format of these links are public [...] the server MUST inform the user of what the action is prior to it
being executed": every action is a page first, and what destroys asks for a recent proof of who is there. Spec:
Client-Server API, "Account management" of the OAuth 2.0 API.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from homeserver.client_api.visitors import HOME, Visitor, Visitors, as_page, problem_of, single
from homeserver.http.browsers import new_browser, parse_form
from homeserver.http.pages import page_response, redirect
from homeserver.http.request import Request, Response
from homeserver.oauth.browser_sessions import BrowserSessions
from homeserver.oauth.client_metadata import localized
from homeserver.oauth.sessions import OAuthSessions
from homeserver.pages.forms import button, checkbox, error, field, form, hidden, link_button
from homeserver.pages.html import Html, fill, join
from homeserver.pages.languages import Text
from homeserver.protocol.errors import NotFound, WeakPassword
from homeserver.storage.devices import Device
from homeserver.users.accounts import Accounts
from homeserver.users.devices import Devices
from homeserver.users.profiles import Profiles
from homeserver.users.requester import Requester

PROFILE: Final = "org.matrix.profile"
LIST: Final = "org.matrix.devices_list"
VIEW: Final = "org.matrix.device_view"
DELETE: Final = "org.matrix.device_delete"
DEACTIVATE: Final = "org.matrix.account_deactivate"
RESET: Final = "org.matrix.cross_signing_reset"
ACTIONS: Final = (PROFILE, LIST, VIEW, DELETE, DEACTIVATE, RESET)
_OLD: Final = {
    "profile": PROFILE,
    "sessions_list": LIST,
    "org.matrix.sessions_list": LIST,
    "session_view": VIEW,
    "org.matrix.session_view": VIEW,
    "session_end": DELETE,
    "org.matrix.session_end": DELETE,
}
"""What clients called them before v1.18."""
CHANGE: Final = "password"
"""Our own: no client asks for it."""
_DANGEROUS: Final = (DELETE, DEACTIVATE, RESET, CHANGE)

_ACCOUNT = Text("Your account", "您的账号")
_LOGGED_IN_AS = Text("You are logged in as {user}.", "您已登录为 {user}。")
_NAME = Text("Your name, as others see it", "他人看到的名称")
_SAVE = Text("Save", "保存")
_SESSIONS = Text("Your sessions", "您的会话")
_LOG_OUT = Text("Log out of these pages", "退出这些页面")
_DEACTIVATE = Text("Deactivate the account", "停用账号")
_RESET = Text("Reset your cryptographic identity", "重置加密身份")
_SESSION = Text("Session {device}", "会话 {device}")
_APP = Text("App: {name}", "应用：{name}")
_SEEN = Text("Last seen: {when} from {where}", "最近活动：{when}，来自 {where}")
_CREATED = Text("Since: {when}", "开始于：{when}")
_END = Text("End this session", "结束此会话")
_END_WHY = Text(
    "The session {device} will be logged out. Messages that only it can decrypt will be lost to it.",
    "会话 {device} 将被退出。仅该会话可解密的消息将无法再读取。",
)
_RESET_WHY = Text(
    "An app asks to replace the keys by which others know that your sessions are yours. Everybody who verified you "
    "must do so again. Allow it only if you asked for it yourself just now.",
    "某个应用请求更换用于证明会话属于您的密钥。所有验证过您的人都需要重新验证。仅当您刚刚亲自提出请求时才允许。",
)
_RESET_ALLOW = Text("Allow the reset", "允许重置")
_RESET_DONE = Text("The reset is allowed", "已允许重置")
_RESET_BACK = Text("Go back to your app and finish there within ten minutes.", "请在十分钟内返回应用完成操作。")
_DEACTIVATE_WHY = Text(
    "The account {user} will end for ever: nobody can log in to it or take its name again, and it leaves all "
    "its rooms.",
    "账号 {user} 将永久停用：任何人都无法再登录或使用该名称，并且它将离开所有聊天室。",
)
_ERASE = Text("Also hide my messages from people who join later", "同时对之后加入的人隐藏我的消息")
_DEACTIVATE_NOW = Text("Deactivate for ever", "永久停用")
_GONE = Text("The account was deactivated", "账号已停用")
_PASSWORD = Text("Change the password", "更改密码")
_NEW_PASSWORD = Text("New password", "新密码")
_AGAIN = Text("The same once more", "再次输入新密码")
_DIFFER = Text("The two are not the same.", "两次输入的密码不一致。")
_OTHERS = Text("Log out all other sessions", "同时退出所有其他会话")
_CHANGED = Text("The password was changed", "密码已更改")
_BACK = Text("Back", "返回")
_NOTHING: Final = Html("")


class AccountPages:
    """/_halfdoor/account/manage"""

    def __init__(
        self,
        visitors: Visitors,
        browser_sessions: BrowserSessions,
        oauth_sessions: OAuthSessions,
        accounts: Accounts,
        devices: Devices,
        profiles: Profiles,
    ) -> None:
        self._visitors = visitors
        self._browser_sessions = browser_sessions
        self._oauth_sessions = oauth_sessions
        self._accounts = accounts
        self._devices = devices
        self._profiles = profiles

    @as_page
    async def get_manage(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        action = _action(single(request, "action"))
        if visitor.session is None:
            return self._visitors.to_login(request)
        if action in _DANGEROUS and not self._browser_sessions.is_fresh(visitor.session):
            return self._visitors.to_login(request, prove=True)
        device_id = single(request, "device_id") or ""
        if action == LIST or (action in (VIEW, DELETE) and not device_id):
            return await self._list(visitor)
        if action == VIEW:
            return await self._view(visitor, device_id)
        if action == DELETE:
            return await self._ask_delete(visitor, device_id)
        if action == RESET:
            return _ask(visitor, _RESET, _RESET_WHY, RESET, _RESET_ALLOW)
        if action == DEACTIVATE:
            box = checkbox(visitor.say(_ERASE), "erase")
            return _ask(visitor, _DEACTIVATE, _DEACTIVATE_WHY, DEACTIVATE, _DEACTIVATE_NOW, box)
        if action == CHANGE and await self._has_password(visitor.session.user_id):
            return _ask_password(visitor)
        return await self._overview(visitor)

    @as_page
    async def post_manage(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        fields = parse_form(request)
        action = fields.get("action", "")
        device_id = fields.get("device_id", "")
        if visitor.session is None:
            return self._visitors.to_login(request)
        visitor.browser.check(fields, _purpose(action, device_id))
        user_id = visitor.session.user_id
        if action in _DANGEROUS and not self._browser_sessions.is_fresh(visitor.session):
            return redirect(_login_for(action, device_id))
        if action == PROFILE:
            account = await self._accounts.find_account(user_id)
            requester = Requester(user_id, is_suspended=account is not None and account.is_suspended)
            await self._profiles.set_field(requester, user_id, "displayname", fields.get("name", ""))
            return redirect(HOME)
        if action == DELETE:
            await self._devices.get_device(user_id, device_id)
            await self._devices.delete_devices(user_id, [device_id])
            return redirect(f"{HOME}?action={LIST}")
        if action == CHANGE:
            return await self._change_password(visitor, user_id, fields)
        if action == RESET:
            await self._browser_sessions.allow_cross_signing_reset(user_id)
            return visitor.page(_RESET_DONE, fill("<p>{text}</p>", text=visitor.say(_RESET_BACK)))
        if action == DEACTIVATE:
            await self._browser_sessions.end(visitor.browser.secret)
            await self._accounts.deactivate(user_id, erase="erase" in fields)
            return visitor.page(_GONE, Html(""))
        raise NotFound("There is no such action.")

    async def _has_password(self, user_id: str) -> bool:
        account = await self._accounts.find_account(user_id)
        return account is not None and account.password_hash is not None

    async def _change_password(self, visitor: Visitor, user_id: str, fields: Mapping[str, str]) -> Response:
        """Every browser is logged out by it, and this one gets a new cookie."""
        if not await self._has_password(user_id):
            raise NotFound("This account has no password.")
        await self._accounts.check_may_change_password(user_id)
        await self._accounts.check_may_change_password(user_id)
        password = fields.get("password", "")
        if password != fields.get("again"):
            return _ask_password(visitor, visitor.say(_DIFFER))
        try:
            self._accounts.check_new_password(password)
        except WeakPassword as weak:
            return _ask_password(visitor, problem_of(visitor.language, weak))
        await self._accounts.change_password(user_id, password, keep_device=None, logout_devices="others" in fields)
        browser = new_browser(is_secure=visitor.browser.is_secure)
        await self._browser_sessions.open(browser.secret, user_id)
        body = _back(visitor, HOME)
        return page_response(visitor.language, visitor.say(_CHANGED), body, headers=browser.headers())

    async def _overview(self, visitor: Visitor) -> Response:
        assert visitor.session is not None
        user_id = visitor.session.user_id
        profile = await self._profiles.find_profile(user_id)
        name = str(profile.get("displayname") or "")
        body = join(
            [
                fill("<p>{text}</p>", text=visitor.say(_LOGGED_IN_AS, user=_code(user_id))),
                form(
                    HOME,
                    visitor.token(_purpose(PROFILE)),
                    hidden("action", PROFILE),
                    field(visitor.say(_NAME), "name", value=name, autocomplete="nickname", required=False),
                    button(visitor.say(_SAVE)),
                ),
                link_button(visitor.say(_SESSIONS), f"{HOME}?action={LIST}"),
                link_button(visitor.say(_PASSWORD), f"{HOME}?action={CHANGE}")
                if await self._has_password(user_id)
                else _NOTHING,
                link_button(visitor.say(_DEACTIVATE), f"{HOME}?action={DEACTIVATE}"),
                form("/_halfdoor/account/logout", visitor.token("logout"), button(visitor.say(_LOG_OUT), css="quiet")),
            ]
        )
        return visitor.page(_ACCOUNT, body)

    async def _list(self, visitor: Visitor) -> Response:
        assert visitor.session is not None
        user_id = visitor.session.user_id
        apps = await self._app_names(visitor, user_id)
        items = []
        for device in await self._devices.list_devices(user_id):
            url = f"{HOME}?{urlencode({'action': VIEW, 'device_id': device.device_id})}"
            link = fill('<a href="{url}">{name}</a>', url=url, name=device.display_name or device.device_id)
            items.append(fill("<li>{link}<br>{facts}</li>", link=link, facts=_facts(visitor, device, apps)))
        body = fill('<ul class="plain">{items}</ul>{back}', items=join(items), back=_back(visitor, HOME))
        return visitor.page(_SESSIONS, body)

    async def _view(self, visitor: Visitor, device_id: str) -> Response:
        assert visitor.session is not None
        user_id = visitor.session.user_id
        device = await self._devices.get_device(user_id, device_id)
        facts = _facts(visitor, device, await self._app_names(visitor, user_id))
        end = f"{HOME}?{urlencode({'action': DELETE, 'device_id': device_id})}"
        body = fill(
            "<p>{name} {code}</p><p>{facts}</p>{end}{back}",
            name=device.display_name or "",
            code=_code(device_id),
            facts=facts,
            end=link_button(visitor.say(_END), end, css="danger"),
            back=_back(visitor, f"{HOME}?action={LIST}"),
        )
        return visitor.page(_SESSION, body, device=device_id)

    async def _ask_delete(self, visitor: Visitor, device_id: str) -> Response:
        assert visitor.session is not None
        device = await self._devices.get_device(visitor.session.user_id, device_id)
        name = f"{device.display_name or ''} ({device_id})".strip()
        return _ask(visitor, _END, _END_WHY, DELETE, _END, device_id=device_id, device=name)

    async def _app_names(self, visitor: Visitor, user_id: str) -> Mapping[str, str]:
        clients = await self._oauth_sessions.clients_of(user_id)
        return {
            device_id: localized(client.metadata, "client_name", visitor.language) or client.metadata["client_uri"]
            for device_id, client in clients.items()
        }


def _ask(
    visitor: Visitor,
    title: Text,
    why: Text,
    action: str,
    label: Text,
    more: Html = _NOTHING,
    *,
    device_id: str = "",
    device: str = "",
) -> Response:
    """A page that says what will happen, with the button that lets it."""
    assert visitor.session is not None
    user = _code(visitor.session.user_id)
    body = join(
        [
            fill('<p class="notice">{text}</p>', text=visitor.say(why, user=user, device=_code(device))),
            form(
                HOME,
                visitor.token(_purpose(action, device_id)),
                hidden("action", action),
                hidden("device_id", device_id),
                more,
                button(visitor.say(label), css="danger"),
            ),
            _back(visitor, HOME),
        ]
    )
    return visitor.page(title, body)


def _ask_password(visitor: Visitor, problem: str | None = None) -> Response:
    asked = form(
        HOME,
        visitor.token(_purpose(CHANGE)),
        hidden("action", CHANGE),
        field(visitor.say(_NEW_PASSWORD), "password", kind="password", autocomplete="new-password"),
        field(visitor.say(_AGAIN), "again", kind="password", autocomplete="new-password"),
        checkbox(visitor.say(_OTHERS), "others", checked=True),
        button(visitor.say(_SAVE)),
    )
    body = join([error(problem), asked, _back(visitor, HOME)])
    return visitor.page(_PASSWORD, body, status=400 if problem else 200)


def _facts(visitor: Visitor, device: Device, apps: Mapping[str, str]) -> Html:
    lines = []
    if device.device_id in apps:
        lines.append(visitor.say(_APP, name=apps[device.device_id]))
    lines.append(visitor.say(_CREATED, when=_moment(device.created_ts)))
    if device.last_seen_ts is not None:
        lines.append(visitor.say(_SEEN, when=_moment(device.last_seen_ts), where=device.last_seen_ip or "?"))
    return join(fill('<span class="small">{line}</span><br>', line=line) for line in lines)


def _moment(timestamp_ms: int) -> str:
    moment = datetime.datetime.fromtimestamp(timestamp_ms / 1000, tz=datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _action(given: str | None) -> str:
    action = _OLD.get(given or "", given or PROFILE)
    return action if action in (*ACTIONS, CHANGE) else PROFILE


def _purpose(action: str, device_id: str = "") -> str:
    return f"manage {action} {device_id}"


def _login_for(action: str, device_id: str) -> str:
    there = f"{HOME}?{urlencode({'action': action, 'device_id': device_id})}"
    return f"/_halfdoor/account/login?{urlencode({'next': there, 'prove': '1'})}"


def _back(visitor: Visitor, url: str) -> Html:
    return link_button(visitor.say(_BACK), url)


def _code(text: str) -> Html:
    return fill("<code>{text}</code>", text=text)
