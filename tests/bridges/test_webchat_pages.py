"""The street's HTTP side over real sockets: the widget's size and headers, the demo page, files, handshakes."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
from collections.abc import Mapping

import pytest

from bridges.kit.reactor import installed_reactor
from bridges.kit.requests import Answer, TreqRequests
from bridges.kit.testing import FakeHomeserver
from bridges.webchat import Limits, WebchatBridge
from bridges.webchat.pages import WIDGET
from tests.bridges.webchat_harness import GENEROUS, ORIGIN, SITE, street


async def get(chat: WebchatBridge, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
    requests = TreqRequests(chat.public_url, installed_reactor())
    try:
        return await requests.request(method, path, {}, headers or {}, b"", 1_000_000)
    finally:
        await requests.close()


async def handshake(chat: WebchatBridge, origin: str | None) -> str:
    """The status line that a WebSocket handshake from a page of `origin` gets."""
    port = int(chat.public_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [
        "GET /webchat/ws HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    if origin is not None:
        lines.append(f"Origin: {origin}")
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        return (await asyncio.wait_for(reader.readline(), 60)).decode().strip()
    finally:
        writer.close()
        await writer.wait_closed()


def test_the_widget_is_smaller_than_12_kilobytes_gzipped() -> None:
    assert len(gzip.compress((WIDGET / "widget.js").read_bytes(), 9)) < 12 * 1024


def test_the_widget_uses_no_way_to_make_markup_from_text() -> None:
    source = (WIDGET / "widget.js").read_text()
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser"):
        assert way not in source


async def test_W34_the_widget_is_served_for_other_origins_under_a_versioned_path_with_its_hash() -> None:
    source = (WIDGET / "widget.js").read_bytes()
    async with street(FakeHomeserver()) as (chat, _):
        plain = await get(chat, "/webchat/widget.js")
        assert (plain.status, plain.body) == (200, source)
        assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
        assert plain.headers["x-content-type-options"] == "nosniff"
        assert plain.headers["access-control-allow-origin"] == "*"
        assert "max-age=300" in plain.headers["cache-control"]
        again = await get(chat, "/webchat/widget.js", {"If-None-Match": plain.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
        head = await get(chat, "/webchat/widget.js", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        versioned = await get(chat, f"/webchat/{hashlib.sha256(source).hexdigest()[:12]}/widget.js")
        assert versioned.body == source
        assert "immutable" in versioned.headers["cache-control"]
        tag = chat.script_tag(SITE)
        assert base64.b64encode(hashlib.sha384(source).digest()).decode() in tag
        assert f'data-site="{SITE}"' in tag


async def test_the_demo_page_has_a_strict_policy_and_nothing_inline() -> None:
    async with street(FakeHomeserver()) as (chat, _):
        page = await get(chat, "/webchat/demo")
        assert page.status == 200
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        html = page.body.decode()
        assert "{{" not in html
        assert "<style" not in html
        assert " style=" not in html
        assert html.count("<script") == 1
        assert (await get(chat, "/webchat/demo.css")).headers["content-type"].startswith("text/css")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/webchat",
        "/webchat/",
        "/webchat/x",
        "/webchat/widget.js/x",
        "/webchat/..%2f..%2fsettings.py",
        "/webchat/files/x",
    ],
)
async def test_whatever_else_is_asked_for_is_not_there(path: str) -> None:
    async with street(FakeHomeserver()) as (chat, _):
        answer = await get(chat, path)
        assert answer.status == 404
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await get(chat, "/webchat/widget.js", method="POST")).status == 405


async def test_W07_files_of_staff_are_inline_only_when_they_are_images_by_their_bytes() -> None:
    homeserver = FakeHomeserver()
    png = b"\x89PNG\r\n\x1a\n" + b"0" * 20
    homeserver.media = {
        "mxc://example.org/png": ("text/html", png),
        "mxc://example.org/evil": ("image/png", b"<svg onload=alert(1)>"),
    }
    async with street(homeserver) as (chat, _):
        conversations = chat.network.conversations
        async with chat.bridge.store.transaction() as txn:
            for name in ("png", "evil", "gone"):
                await conversations.add_file(
                    txn, f"{name}-0123456789", "c", f"${name}", f"mxc://example.org/{name}", "ä\r\n.x"
                )
        image = await get(chat, "/webchat/files/png-0123456789")
        assert (image.status, image.body, image.headers["content-type"]) == (200, png, "image/png")
        assert image.headers["content-disposition"] == "inline; filename*=UTF-8''%C3%A4%0D%0A.x"
        evil = await get(chat, "/webchat/files/evil-0123456789")
        assert evil.headers["content-type"] == "application/octet-stream"
        assert evil.headers["content-disposition"].startswith("attachment")
        assert "sandbox" in evil.headers["content-security-policy"]
        assert (await get(chat, "/webchat/files/gone-0123456789")).status == 404


@pytest.mark.parametrize(
    "origin", [None, "null", "https://evil.example", "https://sub.shop.example", "http://shop.example"]
)
async def test_W10_a_handshake_from_a_strange_page_is_refused(origin: str | None) -> None:
    async with street(FakeHomeserver()) as (chat, _):
        status = (await handshake(chat, origin)).split()[1]
        assert status == ("400" if origin == "null" else "403")  # Autobahn itself refuses the origin `null`


async def test_a_handshake_from_the_sites_page_is_accepted_until_there_are_too_many() -> None:
    async with street(FakeHomeserver(), limits=Limits(connect_burst=3)) as (chat, _):
        answers = [await handshake(chat, ORIGIN) for _ in range(5)]
        assert [" 101 " in answer for answer in answers] == [True, True, True, False, False]
        assert " 429 " in answers[-1]


async def test_a_forwarded_address_counts_only_from_a_trusted_proxy() -> None:
    class Handshake:
        peer = "tcp4:127.0.0.1:4711"
        headers = {"x-forwarded-for": "203.0.113.9, 198.51.100.7"}  # noqa: RUF012

    async with street(FakeHomeserver(), limits=GENEROUS) as (chat, _):
        assert chat.sockets.address_of(Handshake()) == "127.0.0.1"
        chat.sockets.trusted = frozenset({"127.0.0.1"})
        assert chat.sockets.address_of(Handshake()) == "198.51.100.7"
