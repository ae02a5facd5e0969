"""The widget in a real browser, before a fake homeserver: no text becomes script, drops lose nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from twisted.web.resource import Resource

from bridges.kit.testing import FakeHomeserver
from bridges.kit.text import clean_text
from bridges.kit.web import listen, stop_listening
from bridges.webchat import WebchatBridge
from tests.bridges.test_webchat_end_to_end import ROOT, open_chat, say, wait_for_bubbles
from tests.bridges.webchat_harness import MEI, SITE, street
from tests.bridges.xss_corpus import vectors
from tests.support.browser import Page, chromium

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

TAGS = "DIV SECTION HEADER H2 P BUTTON SPAN DETAILS SUMMARY LABEL INPUT FORM TEXTAREA svg path A BR IMG"
ATTRIBUTES = (
    "class role hidden id aria-label aria-live tabindex type maxlength autocomplete placeholder rows disabled lang "
    "aria-controls aria-expanded aria-hidden viewBox d href target rel title open style alt loading src"
)
ALLOWED_TAGS = set(TAGS.split())
ALLOWED_ATTRIBUTES = set(ATTRIBUTES.split())


class BarePage(Resource):
    """A customer's page: another origin, no Content-Security-Policy that could hide a mistake of ours."""

    isLeaf = True
    html = b""

    def render_GET(self, request: Any) -> bytes:
        request.setHeader(b"content-type", b"text/html; charset=utf-8")
        return self.html


@contextlib.asynccontextmanager
async def customer_page(chat: WebchatBridge, title: str = "Customer") -> AsyncIterator[str]:
    page_class: Any = BarePage
    resource = page_class()
    port = listen(resource, "127.0.0.1", 0)
    origin = f"http://127.0.0.1:{port.getHost().port}"
    chat.door.allow_origin(SITE, origin)
    quoted = json.dumps(title).replace("<", "\\u003c")
    resource.html = (
        f"<!doctype html><title>x</title><script>document.title={quoted};"
        "window.pwned=()=>{window.hits=(window.hits||0)+1;alert('pwned')};window.before=Object.keys(window)</script>"
        f"<body><p>page</p>{chat.script_tag(SITE)}</body>"
    ).encode()
    try:
        yield origin + "/"
    finally:
        await stop_listening(port)


async def wait_until_taken(page: Page, count: int) -> None:
    """So many of the visitor's messages are on the server."""
    await page.wait_for(f"{ROOT}.querySelectorAll('.said .m.v').length === {count}")


async def check_clean(page: Page) -> None:
    """No script ran, and every node and attribute in the widget is one that widget.js makes."""
    assert page.dialogs == []
    assert await page.evaluate("window.hits || 0") == 0
    tags = set(await page.evaluate(f"[...new Set([...{ROOT}.querySelectorAll('*')].map(e => e.tagName))]"))
    assert tags <= ALLOWED_TAGS, tags - ALLOWED_TAGS
    names = f"[...{ROOT}.querySelectorAll('*')].flatMap(e => [...e.attributes].map(a => a.name))"
    attributes = set(await page.evaluate(f"[...new Set({names})]"))
    assert attributes <= ALLOWED_ATTRIBUTES, attributes - ALLOWED_ATTRIBUTES
    links = await page.evaluate(f"[...{ROOT}.querySelectorAll('a')].map(e => e.protocol)")
    assert set(links) <= {"http:", "https:"}
    assert await page.evaluate("document.querySelectorAll('script').length") == 2


async def test_W06_no_vector_becomes_script_as_text_of_visitor_or_staff(tmp_path: Path) -> None:
    corpus = vectors()
    assert len(corpus) >= 300
    homeserver = FakeHomeserver()
    async with (
        street(homeserver) as (chat, settle),
        customer_page(chat, title=corpus[0]) as url,
        chromium(tmp_path) as browser,
    ):
        page = await browser.open(url)
        await open_chat(page)
        write = (
            f"text => {{ const box = {ROOT}.querySelector('textarea'); box.value = text;"
            f" box.dispatchEvent(new Event('input')); {ROOT}.querySelector('form').requestSubmit(); }}"
        )
        await page.evaluate(f"{json.dumps(corpus)}.forEach({write})")
        typed = [clean_text(text).strip() for text in corpus]
        said = f"[...{ROOT}.querySelectorAll('.said .m.v .t')].map(e => e.textContent)"
        await page.wait_for(f"{said}.length === {len(corpus)}")
        assert await page.evaluate(said) == typed
        await settle()
        (room,) = homeserver.portal_rooms()
        assert [text for _, text in homeserver.texts(room.room_id)] == typed
        for event in room.events:
            assert "formatted_body" not in event["content"]
        homeserver.users[MEI] = ""
        for number, text in enumerate(corpus):
            name = corpus[-number]
            homeserver.set_member(room.room_id, MEI, "join")
            room.events[-1]["content"]["displayname"] = name
            more = {"format": "org.matrix.custom.html", "formatted_body": text}
            if number % 10 == 9:
                more |= {"msgtype": "m.image", "url": f"mxc://example.org/{number}", "filename": text}
            homeserver.say(room.room_id, MEI, text, **more)
        homeserver.type(room.room_id, MEI)
        await settle()
        staff = f"[...{ROOT}.querySelectorAll('.said .m:not(.v) .t')].length"
        await page.wait_for(f"{staff} === {len(corpus)}")
        await check_clean(page)
        await page.reload()
        await open_chat(page)
        await page.wait_for(f"{staff} > 200")
        await check_clean(page)
        assert (
            await page.evaluate("Object.keys(window).filter(k => !window.before.includes(k) && k !== 'before')") == []
        )
        # And the trap works: this is how a success of the attacker would have looked.
        await page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=pwned()>')")
        await page.wait_for("window.hits === 1")
        assert page.dialogs == ["pwned"]


async def test_dropped_connections_lose_and_double_nothing_in_the_browser(tmp_path: Path) -> None:
    homeserver = FakeHomeserver()
    chance = random.Random(7)
    async with street(homeserver) as (chat, settle), chromium(tmp_path) as browser:
        page = await browser.open(chat.demo_url)
        await open_chat(page)
        await say(page, "v0")
        await wait_until_taken(page, 1)
        await settle()
        (room,) = homeserver.portal_rooms()
        homeserver.join(room.room_id, MEI, "Mei")
        visitor, staff = ["v0"], []
        for number in range(1, 25):
            if chance.random() < 0.5:
                visitor.append(f"v{number}")
                await say(page, f"v{number}")
            if chance.random() < 0.5:
                staff.append(f"s{number}")
                homeserver.say(room.room_id, MEI, f"s{number}")
                await settle()
            if chance.random() < 0.5:
                for protocol in tuple(chat.sockets.protocols):
                    protocol.dropConnection(abort=True)
            if number == 12:
                await page.reload()
                await open_chat(page)
        await page.wait_for(f"{ROOT}.querySelectorAll('.said .m').length === {len(visitor) + len(staff)}")
        await settle()
        texts = "[...%s.querySelectorAll('.said .m%s .t')].map(e => e.textContent)"
        assert await page.evaluate(texts % (ROOT, ".v")) == visitor
        assert await page.evaluate(texts % (ROOT, ":not(.v)")) == staff
        assert [text for who, text in homeserver.texts(room.room_id) if who != MEI] == visitor


async def test_two_visitors_in_two_browsers_do_not_see_each_other(tmp_path: Path) -> None:
    homeserver = FakeHomeserver()
    async with street(homeserver) as (chat, settle), chromium(tmp_path) as browser:
        pages = [await browser.open(chat.demo_url, stranger=True) for _ in range(2)]
        for number, page in enumerate(pages):
            await open_chat(page)
            await say(page, f"I am visitor {number}")
            await wait_until_taken(page, 1)
            await settle()
        rooms = homeserver.portal_rooms()
        for number, room in enumerate(rooms):
            homeserver.join(room.room_id, MEI, "Mei")
            homeserver.say(room.room_id, MEI, f"hello visitor {number}")
        await settle()
        for number, page in enumerate(pages):
            await wait_for_bubbles(page, [f"I am visitor {number}", f"hello visitor {number}"])


async def test_two_tabs_of_one_browser_are_one_conversation(tmp_path: Path) -> None:
    homeserver = FakeHomeserver()
    async with street(homeserver) as (chat, settle), chromium(tmp_path) as browser:
        tabs = [await browser.open(chat.demo_url) for _ in range(2)]
        await asyncio.gather(*(open_chat(tab) for tab in tabs))
        await asyncio.gather(*(say(tab, f"from tab {number}") for number, tab in enumerate(tabs)))
        for tab in tabs:
            await wait_until_taken(tab, 2)
        await settle()
        (room,) = homeserver.portal_rooms()
        assert sorted(text for _, text in homeserver.texts(room.room_id)) == ["from tab 0", "from tab 1"]


async def test_the_widget_works_by_keyboard_counts_what_is_unread_and_speaks_chinese(tmp_path: Path) -> None:
    homeserver = FakeHomeserver()
    async with street(homeserver) as (chat, settle), chromium(tmp_path) as browser:
        page = await browser.open()
        await page.call("Emulation.setLocaleOverride", locale="zh-CN")
        await page.call("Emulation.setUserAgentOverride", userAgent="test", acceptLanguage="zh-CN")
        await page.go(chat.demo_url)
        await page.wait_for("!!document.querySelector('[data-halfdoor]')")
        assert await page.evaluate(f"{ROOT}.querySelector('.l').getAttribute('aria-label')") == "打开聊天"
        await page.evaluate(f"{ROOT}.querySelector('.l').focus()")
        await page.press("Enter", 13, "\r")
        await page.wait_for(f"!{ROOT}.querySelector('.p').hidden")
        assert await page.evaluate(f"{ROOT}.activeElement.tagName") == "TEXTAREA"
        await page.type("你好")
        await page.press("Enter", 13, "\r")
        await wait_until_taken(page, 1)
        await settle()
        (room,) = homeserver.portal_rooms()
        homeserver.join(room.room_id, MEI, "梅")
        await page.press("Escape", 27)
        await page.wait_for(f"{ROOT}.querySelector('.p').hidden")
        assert await page.evaluate(f"{ROOT}.activeElement.className") == "l"
        homeserver.say(room.room_id, MEI, "您好 <b>!</b>")
        await settle()
        await page.wait_for(f"{ROOT}.querySelector('.b').textContent === '1' && !{ROOT}.querySelector('.b').hidden")
        await open_chat(page)
        await page.wait_for(f"{ROOT}.querySelector('.b').hidden")
        await wait_for_bubbles(page, ["你好", "您好 <b>!</b>"])
        homeserver.type(room.room_id, MEI)
        await settle()
        await page.wait_for(f"{ROOT}.querySelector('.y').textContent === '梅正在输入…'")
        assert page.errors == []
