"""The page behind the link in e-mail notifications, which ends them."""

from __future__ import annotations

from homeserver.http.pages import language_of, page_response
from homeserver.http.parsing import query_string
from homeserver.http.request import Request, Response
from homeserver.http.routing import Auth, Route
from homeserver.pages.forms import button, form
from homeserver.pages.html import fill
from homeserver.pages.languages import Text
from homeserver.push.unsubscribing import PATH, UnsubscribeLinks

_TITLE = Text("E-mail notifications", "邮件通知")
_QUESTION = Text("Stop the e-mails about unread messages to {address}?", "要停止向 {address} 发送未读消息邮件吗？")
_STOP = Text("Stop them", "停止发送")
_DONE = Text(
    "No more e-mails about unread messages are sent to this address. You can turn them on again in your app.",
    "将不再向此地址发送未读消息邮件。您可以在应用中重新开启。",
)
_UNKNOWN = Text("This link is not whole. Copy all of it from the e-mail.", "此链接不完整，请从邮件中完整复制。")


class UnsubscribePage:
    """Asks first: programs that look at the links in e-mails press no buttons."""

    def __init__(self, links: UnsubscribeLinks) -> None:
        self._links = links

    async def ask(self, request: Request) -> Response:
        language, token = language_of(request), query_string(request, "token", "")
        key = self._links.read(token)
        if key is None:
            return self._refusal(request)
        question = fill("<p>" + _QUESTION.of(language) + "</p>", address=key.pushkey)
        asked = form(f"{PATH}?token={token}", question, button(_STOP.of(language)))
        return page_response(language, _TITLE.of(language), asked)

    async def end(self, request: Request) -> Response:
        """Also what mail programs call by themselves when their button is pressed (RFC 8058)."""
        language = language_of(request)
        if not await self._links.end(query_string(request, "token", "")):
            return self._refusal(request)
        return page_response(language, _TITLE.of(language), fill("<p>{text}</p>", text=_DONE.of(language)))

    def _refusal(self, request: Request) -> Response:
        language = language_of(request)
        told = fill('<p class="error">{text}</p>', text=_UNKNOWN.of(language))
        return page_response(language, _TITLE.of(language), told, status=400)

    def routes(self) -> list[Route]:
        return [Route("GET", PATH, self.ask, Auth.NONE), Route("POST", PATH, self.end, Auth.NONE)]
