"""Previews of links over HTTP, with a web that the tests make up."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from homeserver.media.services import MediaSettings
from homeserver.media.url_previews import PreviewSettings
from homeserver.outbound.client import OutboundAnswer, OutboundFailed
from homeserver.storage.database import Database
from tests.support.http import Answer
from tests.support.outbound import FakeOutbound, SentRequest
from tests.support.server import SERVER_NAME, Server, User, open_server, server_settings

PATH = "/_matrix/client/v1/media/preview_url"
PAGE = b"""<html><head><meta property="og:title" content="Page"><meta property="og:description" content="Words">
<meta property="og:image" content="/picture.png"></head></html>"""


def html(content: bytes, content_type: str = "text/html; charset=utf-8") -> OutboundAnswer:
    return OutboundAnswer(200, {"content-type": content_type}, content)


def picture(width: int = 1600, height: int = 800) -> OutboundAnswer:
    output = io.BytesIO()
    Image.new("RGB", (width, height), (20, 90, 90)).save(output, "PNG")
    return OutboundAnswer(200, {"content-type": "image/png"}, output.getvalue())


class Web:
    """Answers by address."""

    def __init__(self) -> None:
        self.pages: dict[str, OutboundAnswer | OutboundFailed] = {
            "https://example.org/": html(PAGE),
            "https://example.org/picture.png": picture(),
        }
        self.outbound = FakeOutbound(self.answer)

    def answer(self, request: SentRequest) -> OutboundAnswer:
        found = self.pages.get(request.url, OutboundFailed("not reached"))
        if isinstance(found, OutboundFailed):
            raise found
        return found

    @property
    def asked(self) -> list[str]:
        return [request.url for request in self.outbound.requests]


@pytest.fixture
def web() -> Web:
    return Web()


def open_previews(web: Web, folder: Path, db: Database | None = None, **changes: Any) -> Server:
    previews = PreviewSettings(**{"enabled": True, **changes})
    media = MediaSettings(folder / "media", previews=previews)
    return open_server(db, server_settings(media=media), outbound=web.outbound)


@pytest.fixture
async def server(web: Web, tmp_path: Path) -> AsyncIterator[Server]:
    opened = open_previews(web, tmp_path)
    yield opened
    await opened.close()


async def ask(user: User, url: str, **query: Any) -> Answer:
    return await user.request("GET", PATH, url=url, **query)


async def told(user: User, url: str) -> Mapping[str, Any]:
    answer = await ask(user, url)
    assert answer.status == 200, answer.body
    body: Mapping[str, Any] = answer.json
    return body


async def download(user: User, uri: str) -> Answer:
    path = "/_matrix/client/v1/media/download/" + uri.removeprefix("mxc://")
    return await user.server.client.request("GET", path, token=user.token)


async def test_a_page_is_told_with_our_own_small_copy_of_its_picture(server: Server, web: Web) -> None:
    alice = await server.register()
    body = await told(alice, "https://example.org")
    assert (body["og:title"], body["og:description"]) == ("Page", "Words")
    assert (body["og:image:width"], body["og:image:height"], body["og:image:type"]) == (800, 400, "image/jpeg")
    assert body["og:image"].startswith(f"mxc://{SERVER_NAME}/")
    file = await download(alice, body["og:image"])
    assert (len(file.body), file.headers["content-type"]) == (body["matrix:image:size"], "image/jpeg")
    assert Image.open(io.BytesIO(file.body)).size == (800, 400)
    assert all(not request.trusted and request.redirects == 0 for request in web.outbound.requests)
    used = await server.homeserver.media.store.used_bytes(alice.user_id)
    assert used == 0, "nobody pays for it"


async def test_a_preview_is_kept_for_a_while(stored: Server, web: Web) -> None:
    alice, bob = await stored.register("alice"), await stored.register("bob")
    first = await told(alice, "https://example.org/#part")
    count = len(web.asked)
    assert await told(bob, "https://EXAMPLE.org/") == first
    assert len(web.asked) == count
    await stored.clock.advance(3601)
    web.pages["https://example.org/"] = html(b"<title>New</title>")
    assert await told(bob, "https://example.org/") == {"og:title": "New"}
    assert (await download(bob, first["og:image"])).status == 200, "who was shown the old one may still load it"
    await stored.clock.advance(3 * 24 * 3600)
    await stored.homeserver.media.upkeep.do_round()
    assert (await download(bob, first["og:image"])).status == 404
    assert await stored.homeserver.db.fetch_value("SELECT COUNT(*) FROM url_previews") == 0


@pytest.fixture
async def stored(web: Web, tmp_path: Path, database: Database) -> AsyncIterator[Server]:
    opened = open_previews(web, tmp_path, database)
    yield opened
    await opened.homeserver.close()


async def test_what_fails_is_not_asked_again_at_once(server: Server, web: Web) -> None:
    alice = await server.register()
    for _ in range(2):
        answer = await ask(alice, "https://gone.example/")
        assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
    assert web.asked == ["https://gone.example/"]
    await server.clock.advance(301)
    web.pages["https://gone.example/"] = html(b"<title>Back</title>")
    assert await told(alice, "https://gone.example/") == {"og:title": "Back"}


async def test_C01_whatever_the_reason_the_refusal_is_the_same(server: Server, web: Web) -> None:
    alice = await server.register()
    for failure in (
        OutboundFailed("refused", "10.0.0.1 is not asked"),
        OutboundFailed("timed out"),
        html(b"", "text/x"),
    ):
        web.pages["https://inner.example/"] = failure
        await server.homeserver.db.write(lambda txn: txn.execute("DELETE FROM url_previews"))
        answer = await ask(alice, "https://inner.example/")
        if isinstance(failure, OutboundFailed):
            assert (answer.status, answer.json["error"]) == (404, "There is no preview of this address.")
        else:
            assert answer.json == {}
    for url in ("file:///etc/passwd", "http://a@b/", "no address", "http://127.1/"):
        assert (await ask(alice, url)).json["error"] == "There is no preview of this address."
    assert (await alice.request("GET", PATH)).status == 400
    assert (await ask(alice, "https://example.org/", ts="never")).status == 400


async def test_C02_pictures_and_redirects_are_asked_like_the_page(server: Server, web: Web) -> None:
    """Each goes through `Outbound` untrusted, which resolves and checks it anew (tests/outbound)."""
    alice = await server.register()
    web.pages["https://a.example/"] = OutboundAnswer(302, {"location": "https://b.example/x/"}, b"gone")
    web.pages["https://b.example/x/"] = html(
        b'<base href="/base/"><title>T</title><meta property="og:image" content="http://127.0.0.1:6379/">'
    )
    assert await told(alice, "https://a.example/") == {"og:title": "T"}
    assert web.asked == ["https://a.example/", "https://b.example/x/", "http://127.0.0.1:6379/"]
    assert not any(request.trusted or request.redirects for request in web.outbound.requests)
    web.pages["https://c.example/"] = html(b'<title>T</title><meta property="og:image" content="file:///etc/passwd">')
    assert await told(alice, "https://c.example/") == {"og:title": "T"}
    web.pages["https://d.example/"] = OutboundAnswer(302, {"location": "/"}, b"")
    assert (await ask(alice, "https://d.example/")).status == 404
    assert web.asked.count("https://d.example/") == 5


OEMBED = b'<title>T</title><link rel=alternate type="application/json+oembed" href="%s">'


async def test_a_page_without_a_picture_may_have_one_in_its_oembed(server: Server, web: Web) -> None:
    alice = await server.register()
    web.pages["https://o.example/"] = html(OEMBED.replace(b"<title>T</title>", b"") % b"/oembed?x=1")
    web.pages["https://o.example/oembed?x=1"] = OutboundAnswer(
        200,
        {"content-type": "application/json"},
        b'{"type":"video","title":"Film","provider_name":"Site","thumbnail_url":"https://example.org/picture.png",'
        b'"html":"<script>alert(1)</script>","width":[]}',
    )
    body = await told(alice, "https://o.example/")
    assert (body["og:title"], body["og:site_name"], body["og:image:width"]) == ("Film", "Site", 800)
    assert "script" not in str(body)


async def test_C02_an_oembed_document_leads_nowhere_else(server: Server, web: Web) -> None:
    alice = await server.register()
    web.pages["https://a.example/"] = html(OEMBED % b"http://127.0.0.1:8008/secret")
    web.pages["https://b.example/"] = html(OEMBED % b"file:///etc/passwd")
    web.pages["https://c.example/"] = html(OEMBED % b"/bad")
    web.pages["https://c.example/bad"] = html(b'{"thumbnail_url":"gopher://127.0.0.1:6379/_x","title":1}')
    web.pages["https://d.example/"] = html(OEMBED % b"/inner")
    web.pages["https://d.example/inner"] = html(b'{"thumbnail_url":"http://169.254.169.254/"}')
    web.pages["https://e.example/"] = html(
        b'<title>T</title><meta http-equiv=refresh content="0;url=http://127.0.0.1/">'
    )
    for host in "abcde":
        assert await told(alice, f"https://{host}.example/") == {"og:title": "T"}
    others = {request.url for request in web.outbound.requests} - set(web.pages)
    assert others == {"http://127.0.0.1:8008/secret", "http://169.254.169.254/"}, "which the guard refuses"
    assert not any(request.trusted for request in web.outbound.requests)


async def test_relative_pictures_follow_the_pages_base(server: Server, web: Web) -> None:
    alice = await server.register()
    web.pages["https://a.example/"] = html(b'<base href="javascript:x"><title>T</title>')
    assert await told(alice, "https://a.example/") == {"og:title": "T"}
    web.pages["https://b.example/x/"] = html(
        b'<base href="/base/"><title>T</title><meta itemprop=image content="p.png">'
    )
    web.pages["https://b.example/base/p.png"] = picture(40, 30)
    body = await told(alice, "https://b.example/x/")
    assert (body["og:image:width"], body["og:image:height"]) == (40, 30)


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "image/svg+xml"),
        (b"<html><script>alert(1)</script></html>", "image/png"),
        (b"\x89PNG\r\n\x1a\n broken", "image/png"),
        (b"%PDF-1.7", "application/pdf"),
    ],
)
async def test_E02_only_what_is_a_picture_is_kept(server: Server, web: Web, content: bytes, content_type: str) -> None:
    alice = await server.register()
    web.pages["https://example.org/picture.png"] = OutboundAnswer(200, {"content-type": content_type}, content)
    body = await told(alice, "https://example.org/")
    assert body == {"og:title": "Page", "og:description": "Words"}
    assert await server.homeserver.db.fetch_value("SELECT COUNT(*) FROM media") == 0


async def test_an_address_of_a_picture_is_told_as_the_picture(server: Server, web: Web) -> None:
    alice = await server.register()
    web.pages["https://example.org/a/%E7%8C%AB.png?x=1"] = picture(30, 20)
    body = await told(alice, "https://example.org/a/猫.png?x=1")
    assert (body["og:title"], body["og:image:width"], body["og:image:height"]) == ("猫.png", 30, 20)


async def test_chinese_pages_are_read(server: Server, web: Web) -> None:
    alice = await server.register()
    text = "<title>北京时间 新闻</title>"
    web.pages["https://gb.example/"] = html(text.encode("gb18030"), "text/html; charset=gb2312")
    web.pages["https://big5.example/"] = html(
        b"<meta charset=big5>" + "<title>臺北新聞</title>".encode("big5"), "text/html"
    )
    assert await told(alice, "https://gb.example/") == {"og:title": "北京时间 新闻"}
    assert await told(alice, "https://big5.example/") == {"og:title": "臺北新聞"}


async def test_operators_say_whether_and_which_hosts(web: Web, tmp_path: Path) -> None:
    for changes, url, status in (
        ({"enabled": False}, "https://example.org/", 404),
        ({"allowed_hosts": ("example.org",)}, "https://example.org/", 200),
        ({"allowed_hosts": ("example.org",)}, "https://other.example/", 404),
        ({"allowed_hosts": ("example.org",)}, "https://notexample.org/", 404),
        ({"denied_hosts": ("example.org",)}, "https://www.example.org/", 404),
        ({"denied_hosts": ("example.org",)}, "https://example.org./", 404),
    ):
        server = open_previews(web, tmp_path, **changes)
        alice = await server.register()
        web.outbound.requests.clear()
        assert (await ask(alice, url)).status == status, (changes, url)
        assert bool(web.asked) is (status == 200)
        await server.close()


async def test_a_redirect_to_a_denied_host_is_not_followed(web: Web, tmp_path: Path) -> None:
    server = open_previews(web, tmp_path, denied_hosts=("denied.example",))
    alice = await server.register()
    web.pages["https://example.org/"] = OutboundAnswer(301, {"location": "https://denied.example/"})
    assert (await ask(alice, "https://example.org/")).status == 404
    assert web.asked == ["https://example.org/"]
    await server.close()


async def test_previews_need_an_account(server: Server, web: Web) -> None:
    for path in (PATH, "/_matrix/media/v3/preview_url", "/_matrix/media/r0/preview_url"):
        assert (await server.request("GET", path, url="https://example.org/")).status == 401
    alice = await server.register()
    body = await alice.get("/_matrix/media/v3/preview_url", url="https://example.org/")
    assert body["og:title"] == "Page"
