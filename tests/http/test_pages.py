"""Pages and static files."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeserver.http.pages import html_response, static_routes
from homeserver.http.request import Request, Response
from homeserver.http.routing import Auth, Route
from tests.support.http import MemoryClient
from tests.support.http_server import application


@pytest.fixture
def site(tmp_path: Path) -> MemoryClient:
    (tmp_path / "widget.js").write_text("let a = 1;\n")
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>")
    (tmp_path / ".secret").write_text("no")
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "logo.png").write_bytes(b"\x89PNG")
    return MemoryClient(application(static_routes(tmp_path, "/chat", headers={"X-Extra": "1"})))


async def test_files_are_served_with_their_type_and_headers(site: MemoryClient) -> None:
    script = await site.request("GET", "/chat/widget.js")
    assert (script.status, script.body) == (200, b"let a = 1;\n")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["x-content-type-options"] == "nosniff"
    assert script.headers["x-extra"] == "1"
    assert (await site.request("GET", "/chat/img/logo.png")).headers["content-type"] == "image/png"
    page = await site.request("GET", "/chat/index.html")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


async def test_a_file_that_the_client_has_is_not_sent_again(site: MemoryClient) -> None:
    tag = (await site.request("GET", "/chat/widget.js")).headers["etag"]
    again = await site.request("GET", "/chat/widget.js", headers={"If-None-Match": f'"x", W/{tag}'})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert (await site.request("GET", "/chat/widget.js", headers={"If-None-Match": '"x"'})).status == 200


@pytest.mark.parametrize(
    "path",
    ["/chat/.secret", "/chat/", "/chat", "/chat/../conftest.py", "/chat/%2e%2e/conftest.py", "/chat/img", "/chat/img/",
     "/chat//widget.js", "/chat/widget.js/", "/chat/img%2Flogo.png", "/chat/WIDGET.JS", "/chat/widget.js%00"],
)  # fmt: skip
async def test_D03_nothing_but_the_files_is_served(site: MemoryClient, path: str) -> None:
    assert (await site.request("GET", path)).status == 404


async def test_a_page_has_security_headers_and_may_be_framed_only_where_it_says_so() -> None:
    async def get_page(request: Request) -> Response:
        return html_response("<p>ä</p>")

    async def get_frame(request: Request) -> Response:
        return html_response("<p>x</p>", policy="default-src 'self'; frame-ancestors https://shop.example")

    api = MemoryClient(
        application([Route("GET", "/page", get_page, Auth.NONE), Route("GET", "/frame", get_frame, Auth.NONE)])
    )
    page = await api.request("GET", "/page")
    assert page.body.decode() == "<p>ä</p>"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for name in ("content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy"):
        assert name in page.headers
    assert "x-frame-options" not in (await api.request("GET", "/frame")).headers
