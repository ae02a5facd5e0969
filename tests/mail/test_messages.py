"""The e-mails themselves: whole in both languages, and harmless whatever is put into them."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from homeserver.mail import messages
from homeserver.mail.messages import Letter
from homeserver.pages.languages import Language
from tests.bridges.xss_corpus import vectors

LETTERS = {name: value for name, value in vars(messages).items() if isinstance(value, Letter)}
LINK = "https://matrix.example.org/_matrix/client/unstable/x?sid=a&token=b"
VALUES = {"user": "@alice:example.org", "date": "2026-11-24"}
TAGS = {"!doctype", "html", "head", "meta", "body", "div", "p", "a"}


class Reader(HTMLParser):
    """Notes every tag and attribute of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", LETTERS)
def test_every_e_mail_is_whole_in_both_languages(name: str, language: Language) -> None:
    message = LETTERS[name].write(language, "example.org", link=LINK, **VALUES)
    page = read(message.html)
    for text in (message.subject, message.text, page.text):
        assert "{" not in text
        assert text.strip()
    has_link = LETTERS[name].button is not None
    assert (LINK in message.text) is has_link
    assert (("href", LINK) in page.attributes) is has_link
    has_chinese = any("\u4e00" <= character <= "\u9fff" for character in message.text)
    assert has_chinese is (language == "zh")
    assert page.tags <= TAGS


@pytest.mark.parametrize("name", LETTERS)
def test_F08_what_is_put_into_an_e_mail_stays_text(name: str) -> None:
    letter = LETTERS[name]
    for payload in [*vectors(), "a\r\nBcc: eve@example.org", "{server}", "%s"]:
        message = letter.write("en", payload, link=LINK, user=payload, date=payload)
        page = read(message.html)
        assert page.tags <= TAGS
        assert {name for name, _ in page.attributes} <= {"lang", "charset", "style", "href"}
        assert {value for name, value in page.attributes if name == "href"} <= {LINK}
        assert "\n" not in message.subject
        assert "\r" not in message.subject
