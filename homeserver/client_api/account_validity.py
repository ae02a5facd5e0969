"""Renewing accounts that end: the page of the link, and asking for another link. As Synapse's module has them."""

from __future__ import annotations

from typing import Final

from homeserver.http.browsers import parse_form
from homeserver.http.pages import language_of, page_response
from homeserver.http.parsing import query_string
from homeserver.http.request import Request, Response
from homeserver.pages.forms import button, form, hidden
from homeserver.pages.html import fill, join
from homeserver.pages.languages import Language, Text
from homeserver.protocol.errors import MatrixError, MissingToken, NotFound
from homeserver.users.account_validity import RENEW_PATH, AccountValidity
from homeserver.users.authentication import Authentication

_TITLE: Final = Text("Keep your account", "保留您的账号")
_ASK: Final = Text("Do you want to keep the account {user}?", "您要保留账号 {user} 吗？")
_KEEP: Final = Text("Keep it", "保留")
_DONE: Final = Text(
    "Thank you. Your account stays; you may close this page.", "谢谢。您的账号将会保留，您可以关闭此页面。"
)
_FAILED: Final = Text(
    "This link was used already, or is too old. Your app can ask for a new one.",
    "此链接已被使用过，或已过期。您的应用可以重新请求。",
)


class AccountValidityApi:
    """/account_validity"""

    def __init__(self, validity: AccountValidity, authentication: Authentication) -> None:
        self._validity = validity
        self._authentication = authentication

    async def get_page(self, request: Request) -> Response:
        """Asks before anything is done, since programs that look at e-mails follow links."""
        language, token = language_of(request), query_string(request, "token")
        try:
            user_id = await self._validity.find_by_link(token)
        except NotFound:
            return _page(language, _FAILED, status=404)
        ask = fill("<p>{ask}</p>", ask=fill(_ASK.of(language), user=user_id))
        body = join((ask, form(RENEW_PATH, hidden("token", token), button(_KEEP.of(language)))))
        return page_response(language, _TITLE.of(language), body)

    async def post_page(self, request: Request) -> Response:
        """The button was pressed."""
        language = language_of(request)
        try:
            await self._validity.renew_by_link(parse_form(request, max_fields=10).get("token", ""))
        except MatrixError:
            return _page(language, _FAILED, status=404)
        return _page(language, _DONE)

    async def send_mail(self, request: Request) -> Response:
        """For accounts that have ended, too, so that the handler authenticates."""
        if request.access_token is None:
            raise MissingToken("This needs an access token, as the header Authorization: Bearer.")
        requester = await self._authentication.verify_token(request.access_token, even_locked=True)
        await self._validity.send_mail(requester.user_id)
        return Response({})


def _page(language: Language, sentence: Text, *, status: int = 200) -> Response:
    body = fill(
        '<p class="{kind}">{sentence}</p>', kind="error" if status > 200 else "", sentence=sentence.of(language)
    )
    return page_response(language, _TITLE.of(language), body, status=status)
