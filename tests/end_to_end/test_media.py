"""Files through a real server: with matrix-js-sdk, in Chromium, and larger than the memory that they may take."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import io
import re
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import pytest
from PIL import Image

from tests.client_api.hostile_media import HTML, SVG, polyglots
from tests.end_to_end.test_matrix_js_sdk import Flow, flow
from tests.support.browser import Browser, Page, chromium, chromium_path
from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import Account, ServerProcess

__all__ = ["flow"]

pytestmark = pytest.mark.end_to_end

MIB = 1024 * 1024
LARGE = 200 * MIB
MOST_GROWTH_KIB = 32 * 1024


def picture(width: int = 200, height: int = 100) -> bytes:
    output = io.BytesIO()
    Image.new("RGB", (width, height), (20, 90, 90)).save(output, "PNG")
    return output.getvalue()


def size_of(loaded: dict[str, Any]) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(loaded["content"]))).size


async def test_matrix_js_sdk_sends_a_picture_and_others_see_it(flow: Flow) -> None:
    sent = picture()
    facts = await flow("pictures", picture=base64.b64encode(sent).decode())
    assert base64.b64decode(facts["whole"]["content"]) == sent
    assert (facts["whole"]["status"], facts["whole"]["type"]) == (200, "image/png")
    assert facts["whole"]["shown"] == "inline; filename*=utf-8''%E7%8C%AB.png"
    assert (size_of(facts["small"]), size_of(facts["cropped"])) == ((40, 20), (40, 40))
    assert (facts["stranger"], facts["frozen"]) == (401, 404)
    assert facts["limit"] >= MIB


async def test_matrix_js_sdk_waits_for_a_file_that_is_promised(flow: Flow) -> None:
    facts = await flow("promised")
    assert (facts["early"], facts["first"], facts["second"]) == (504, 200, 409)
    assert base64.b64decode(facts["came"]["content"]) == b"here it is"
    assert facts["came"]["shown"] == 'inline; filename="later.txt"'


class Memory:
    """The resident memory of a process, in KiB."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._clear = Path(f"/proc/{pid}/clear_refs")

    def _read(self, name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB", self._status.read_text(), flags=re.M)
        assert found is not None
        return int(found[1])

    @property
    def now(self) -> int:
        return self._read("VmRSS")

    @property
    def peak(self) -> int:
        return self._read("VmHWM")

    def forget_peak(self) -> None:
        self._clear.write_text("5")


def pieces() -> Iterator[bytes]:
    block = hashlib.shake_256(b"large").digest(MIB)
    for number in range(LARGE // MIB):
        yield number.to_bytes(8) + block[8:]


def test_a_file_of_200_megabytes_passes_through_flat_memory(tmp_path: Path) -> None:
    with halfdoor(tmp_path, settings={"media": {"max_upload_bytes": LARGE}}) as server:
        alice = server.register("alice")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        headers = {"Authorization": f"Bearer {alice.access_token}", "Content-Type": "application/octet-stream"}
        connection.request("POST", "/_matrix/media/v3/upload", b"warm", headers)
        connection.getresponse().read()
        memory = Memory(server.pid)
        memory.forget_peak()
        before = memory.now
        connection.request("POST", "/_matrix/media/v3/upload", pieces(), {**headers, "Content-Length": str(LARGE)})
        answer = connection.getresponse()
        uri = re.search(rb"mxc://([^\"]+)", answer.read())
        assert answer.status == 200
        assert uri is not None
        connection.request("GET", f"/_matrix/client/v1/media/download/{uri[1].decode()}", headers=headers)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(LARGE))
        expected, got = hashlib.sha256(), hashlib.sha256()
        for piece in pieces():
            expected.update(piece)
        while part := answer.read(MIB):
            got.update(part)
        assert got.digest() == expected.digest()
        connection.close()
        assert memory.peak - before < MOST_GROWTH_KIB, f"{before} KiB before, {memory.peak} KiB at most"


class Website(BaseHTTPRequestHandler):
    """A page with a picture; `asked` are the paths."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/page")
            self.end_headers()
            return
        is_page = self.path.startswith("/page")
        body = (
            picture() if not is_page else "<meta property=og:image content=/p.png><title>标题</title>".encode("gb18030")
        )
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=gb2312" if is_page else "image/png")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def website() -> Iterator[str]:
    Website.asked.clear()
    server = HTTPServer(("127.0.0.1", 0), Website)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask_preview(server: ServerProcess, who: Account, url: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    path = f"/_matrix/client/v1/media/preview_url?url={quote(url, safe='')}"
    connection.request("GET", path, headers={"Authorization": f"Bearer {who.access_token}"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_a_link_is_previewed_over_real_connections(tmp_path: Path, website: str) -> None:
    outbound = {"allowed_networks": ["127.0.0.1"], "allowed_ports": []}
    settings = {"media": {"previews": {"enabled": True}}, "outbound": outbound}
    with halfdoor(tmp_path, settings=settings) as server:
        alice = server.register("alice")
        status, body = ask_preview(server, alice, f"{website}/moved")
        assert (status, Website.asked) == (200, ["/moved", "/page", "/p.png"])
        assert '"og:title":"标题"'.encode() in body
        assert b'"og:image:width":200' in body
        assert ask_preview(server, alice, f"http://127.0.0.1:{server.port}/")[0] == 404, "its own listener"


def test_C01_a_server_as_it_comes_asks_nothing_internal(tmp_path: Path, website: str) -> None:
    port = urlsplit(website).port
    settings = {"media": {"previews": {"enabled": True}}, "outbound": {"allowed_ports": []}}
    with halfdoor(tmp_path, settings=settings) as server:
        alice = server.register("alice")
        for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433"):
            assert ask_preview(server, alice, f"http://{host}:{port}/page")[0] == 404
    assert Website.asked == []


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    if chromium_path() is None:
        pytest.skip("Chromium is not installed")
    async with chromium(tmp_path) as running:
        yield running


async def test_E02_no_uploaded_program_runs_in_a_browser(browser: Browser, server: ServerProcess, person: Any) -> None:
    """Opened as a page of its own, with the token that no page could give it."""
    who = person("eve")
    files = {**polyglots(), "html": HTML, "svg": SVG}
    types = ["text/html", "image/svg+xml", "text/plain", "image/png", "application/xhtml+xml", "text/css", "video/mp4"]
    page = await browser.open()
    await page.call("Network.enable")
    await page.call("Network.setExtraHTTPHeaders", headers={"Authorization": f"Bearer {who.access_token}"})
    assert await title_of(page, "data:text/html," + quote(HTML.decode())) == "run", "what this looks for is seen"
    opened = 0
    for content in files.values():
        for content_type in types:
            address = await asyncio.to_thread(upload, server, who, content, content_type)
            title = await title_of(page, address)
            opened += title is not None
            assert title != "run", (content, content_type)
    assert opened > len(files)
    assert page.dialogs == []


async def title_of(page: Page, address: str) -> str | None:
    """The title after a page was opened; None when it became a download."""
    if "errorText" in await page.call("Page.navigate", url=address):
        return None
    title: str = await page.wait_for("document.readyState === 'complete' && `t ${document.title}`")
    return title.removeprefix("t ")


def upload(server: ServerProcess, who: Account, content: bytes, content_type: str) -> str:
    """Where the file is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"Authorization": f"Bearer {who.access_token}", "Content-Type": content_type}
    connection.request("POST", "/_matrix/media/v3/upload", content, headers)
    uri = re.search(rb"mxc://([^\"]+)", connection.getresponse().read())
    connection.close()
    assert uri is not None
    return f"{server.base_url}/_matrix/client/v1/media/download/{uri[1].decode()}"
