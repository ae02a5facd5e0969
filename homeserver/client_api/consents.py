"""The page where the operator's documents are read and accepted. Its address is signed for one user, so that it works
in any browser without logging in; accepting is all that it can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from homeserver.http.browsers import parse_form
from homeserver.http.pages import language_of, page_response
from homeserver.http.parsing import query_string
from homeserver.http.request import Request, Response
from homeserver.pages.forms import button, checkbox, form, hidden
from homeserver.pages.html import Html, fill, join, text
from homeserver.pages.languages import Language, Text
from homeserver.protocol.errors import MatrixError
from homeserver.users.consents import CONSENT_PATH, Consents

_TITLE: Final = Text("Terms of this server", "本服务器的条款")
_READ: Final = Text("Please read these documents:", "请阅读以下文件：")
_ASK: Final = Text("I, {user}, have read and accept them.", "我（{user}）已阅读并同意。")
_ACCEPT: Final = Text("Accept", "同意")
_DONE: Final = Text(
    "Thank you. You may close this page and go back to your app.", "谢谢。您可以关闭此页面，回到您的应用。"
)
_NO_LINK: Final = Text("To accept them, follow the link that your app shows.", "如需同意，请打开您的应用中显示的链接。")
_FAILED: Final = Text(
    "This did not work. Follow the link that your app shows, and try again.",
    "操作未成功。请打开您的应用中显示的链接后重试。",
)
_PREFIX: Final = "version."


class ConsentApi:
    """/_matrix/consent"""

    def __init__(self, consents: Consents) -> None:
        self._consents = consents

    async def get_page(self, request: Request) -> Response:
        """The documents; without a signature, for reading only."""
        language = language_of(request)
        localpart, proof = query_string(request, "u", ""), query_string(request, "h", "")
        policies = self._consents.settings.policies
        parts = [fill("<p>{read}</p>", read=_READ.of(language)), _links(policies, language)]
        if not localpart:
            parts.append(fill("<p>{how}</p>", how=_NO_LINK.of(language)))
            return page_response(language, _TITLE.of(language), join(parts))
        try:
            user_id = self._consents.get_user(localpart, proof)
        except MatrixError:
            return _page(language, _FAILED, status=403)
        if await self._consents.has_accepted(user_id):
            return _page(language, _DONE)
        versions = [hidden(_PREFIX + name, version) for name, version in self._consents.settings.versions.items()]
        ask = checkbox(fill(_ASK.of(language), user=user_id), "accept", required=True)
        fields = [hidden("u", localpart), hidden("h", proof), *versions, ask, button(_ACCEPT.of(language))]
        parts.append(form(CONSENT_PATH, *fields))
        return page_response(language, _TITLE.of(language), join(parts))

    async def post_page(self, request: Request) -> Response:
        """The form of that page, sent."""
        language = language_of(request)
        try:
            fields = parse_form(request)
            if "accept" not in fields:
                return _page(language, _FAILED, status=400)
            versions = {name.removeprefix(_PREFIX): value for name, value in fields.items() if name.startswith(_PREFIX)}
            await self._consents.accept_by_page(fields.get("u", ""), fields.get("h", ""), versions)
        except MatrixError:
            return _page(language, _FAILED, status=403)
        return _page(language, _DONE)


def _links(policies: Mapping[str, Any], language: Language) -> Html:
    """Each document in the reader's language if there is one, as a link to http or https alone (row F08)."""
    items = []
    for policy in policies.values():
        languages = {name: value for name, value in policy.items() if isinstance(value, dict)}
        document = languages.get(language) or languages.get("en") or next(iter(languages.values()), {})
        url = str(document.get("url", ""))
        if urlsplit(url).scheme in ("http", "https"):
            title = f"{document.get('name', url)} ({policy.get('version', '')})"
            link = fill('<a href="{url}" target="_blank" rel="noopener noreferrer">{title}</a>', url=url, title=title)
            items.append(fill("<li>{link}</li>", link=link))
    return fill("<ul>{items}</ul>", items=join(items))


def _page(language: Language, sentence: Text, *, status: int = 200) -> Response:
    body = fill('<p class="{kind}">{s}</p>', kind="error" if status > 200 else "", s=text(sentence.of(language)))
    return page_response(language, _TITLE.of(language), body, status=status)
