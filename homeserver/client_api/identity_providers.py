"""Logging in by an identity provider: the pages on the way there and back, and the provider's call to end sessions."""

from __future__ import annotations

from homeserver.client_api.visitors import Visitor, Visitors, as_page, next_page, problem_of, single
from homeserver.http.browsers import new_browser, parse_form
from homeserver.http.pages import redirect
from homeserver.http.request import Request, Response
from homeserver.oauth.browser_sessions import BrowserSessions
from homeserver.pages.forms import button, error, field, form
from homeserver.pages.html import fill, join
from homeserver.pages.languages import Text
from homeserver.protocol.errors import MatrixError, Unavailable
from homeserver.sso.identities import Arrival, Identities
from homeserver.sso.signed_tokens import WrongToken
from homeserver.storage.identities import Newcomer

_CHOOSE = Text("Choose your user name", "请选择用户名")
_WHY = Text(
    "You are new here. This name cannot be changed later; others see it when they look for you.",
    "您是新用户。用户名以后不能更改，其他人查找您时会看到它。",
)
_USER = Text("User name", "用户名")
_CREATE = Text("Create the account", "创建账号")


class IdentityProviderPages:
    """/_halfdoor/account/providers/{provider_id} and /_halfdoor/account/username"""

    def __init__(self, visitors: Visitors, sessions: BrowserSessions, identities: Identities) -> None:
        self._visitors = visitors
        self._sessions = sessions
        self._identities = identities

    @as_page
    async def depart(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        url = await self._identities.depart(
            request.path_params["provider_id"],
            visitor.browser.secret,
            next_page(single(request, "next")),
            prove=single(request, "prove") is not None,
        )
        return redirect(url, headers=visitor.browser.headers())

    @as_page
    async def arrive(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        query = {name: single(request, name) or "" for name in request.query}
        arrival = await self._identities.arrive(request.path_params["provider_id"], visitor.browser.secret, query)
        if arrival.user_id is None:
            return redirect("/_halfdoor/account/username")
        return await self._logged_in(visitor, arrival)

    @as_page
    async def get_username(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        newcomer = await self._identities.find_newcomer(visitor.browser.secret)
        return _form(visitor, newcomer, newcomer.localpart)

    @as_page
    async def choose_username(self, request: Request) -> Response:
        visitor = await self._visitors.of(request)
        fields = parse_form(request)
        visitor.browser.check(fields, "username")
        newcomer = await self._identities.find_newcomer(visitor.browser.secret)
        chosen = fields.get("user", "").strip()
        try:
            arrival = await self._identities.settle_newcomer(newcomer, chosen, request.client_address)
        except MatrixError as problem:
            return _form(visitor, newcomer, chosen, problem_of(visitor.language, problem), status=400)
        return await self._logged_in(visitor, arrival)

    async def log_out(self, request: Request) -> Response:
        """Back-Channel Logout 1.0, section 2.5 and 2.8."""
        headers = {"Cache-Control": "no-store"}
        try:
            token = parse_form(request).get("logout_token", "")
            await self._identities.log_out(request.path_params["provider_id"], token)
        except WrongToken as wrong:
            described = {"error": "invalid_request", "error_description": f"The token is not believed: {wrong}."}
            return Response(described, 400, headers)
        except Unavailable:
            return Response({"error": "temporarily_unavailable"}, 503, headers)
        except MatrixError as wrong:
            return Response({"error": "invalid_request", "error_description": wrong.message}, 400, headers)
        return Response({}, 200, headers)

    async def _logged_in(self, visitor: Visitor, arrival: Arrival) -> Response:
        assert arrival.user_id is not None
        browser = new_browser(is_secure=visitor.browser.is_secure)
        await self._sessions.end(visitor.browser.secret)
        await self._sessions.open(
            browser.secret,
            arrival.user_id,
            provider_id=arrival.provider_id,
            provider_session=arrival.provider_session,
        )
        return redirect(next_page(arrival.next_page), headers=browser.headers())


def _form(
    visitor: Visitor, newcomer: Newcomer, proposed: str, problem: str | None = None, status: int = 200
) -> Response:
    body = join(
        [
            error(problem),
            fill("<p>{text}</p>", text=visitor.say(_WHY)),
            form(
                "/_halfdoor/account/username",
                visitor.token("username"),
                field(visitor.say(_USER), "user", value=proposed, autocomplete="username", max_length=255),
                button(visitor.say(_CREATE)),
            ),
        ]
    )
    return visitor.page(_CHOOSE, body, status=status)
