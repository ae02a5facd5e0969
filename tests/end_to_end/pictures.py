"""Makes the pictures in docs/images: a conversation on the demo, the visitor in the widget, the staff in Hydrogen.

    python -m tests.end_to_end.pictures FOLDER HYDROGEN

HYDROGEN is the folder of Hydrogen's built files (scripts/pictures makes it). The staff does everything by hand in
Hydrogen: logs in, accepts the invitation, writes.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import http.server
import json
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import quote

from tests.end_to_end.demo import Visitor, demo_server
from tests.end_to_end.test_demo import CONVERSATION
from tests.support.browser import Browser, Page, chromium

WIDTH, HEIGHT = 1100, 820
NAMES = ("demo-visitor.png", "demo-staff.png")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves Hydrogen's files without a word."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class StaffInHydrogen:
    """The staff account at Hydrogen, driven through what is on the screen."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def fill(self, selector: str, text: str) -> None:
        await self.page.wait_for(f"!!document.querySelector({json.dumps(selector)})")
        await self.page.evaluate(f"(e => {{ e.focus(); e.select(); }})(document.querySelector({json.dumps(selector)}))")
        await self.page.type(text)

    async def click(self, selector: str) -> None:
        await self.page.wait_for(f"!!document.querySelector({json.dumps(selector)})")
        await self.page.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def log_in(self, user: str, password: str) -> None:
        await self.fill("#username", user)
        await self.fill("#password", password)
        await self.click(".PasswordLoginView button[type=submit]")
        await self.page.wait_for("!!document.querySelector('.SessionView')", seconds=40)

    async def accept_invitation(self) -> None:
        await self.click(".RoomList a")
        await self.click(".InviteView button.primary")
        await self.page.wait_for("!!document.querySelector('.MessageComposer textarea')", seconds=30)

    async def say(self, text: str) -> None:
        await self.fill(".MessageComposer textarea", text)
        await self.page.press("Enter", 13, "\r")

    async def wait_for(self, text: str) -> None:
        await self.page.wait_for(
            "[...document.querySelectorAll('.Timeline_messageBody')]"
            f".some(e => e.textContent.includes({json.dumps(text)}))"
        )


async def converse(visitor: Visitor, staff: StaffInHydrogen) -> None:
    """The test's ten messages, between the two screens."""
    for turn in range(0, len(CONVERSATION), 2):
        await visitor.say(CONVERSATION[turn])
        if turn == 0:
            await staff.accept_invitation()
        await staff.wait_for(CONVERSATION[turn])
        await staff.say(CONVERSATION[turn + 1])
        await visitor.wait_for_texts(CONVERSATION[: turn + 2])
    await staff.wait_for(CONVERSATION[-1])


async def take_pictures(browser: Browser, images: Path, demo_url: str, hydrogen_url: str, password: str) -> None:
    visitor_page = await browser.open(stranger=True)
    staff_page = await browser.open(stranger=True)
    for page in (visitor_page, staff_page):
        await page.size(WIDTH, HEIGHT)
    visitor = Visitor(visitor_page)
    await visitor_page.go(demo_url)
    await visitor.open_chat()
    staff = StaffInHydrogen(staff_page)
    await staff_page.go(hydrogen_url)
    try:
        await staff.log_in("staff", password)
        await converse(visitor, staff)
        await asyncio.sleep(1)  # whatever moves has come to rest
    finally:
        for name, page in zip(NAMES, (visitor_page, staff_page), strict=True):
            await page.picture(images / name)
    await join_pictures(browser, images)


async def join_pictures(browser: Browser, images: Path) -> None:
    """demo.png: both sides beside each other."""
    page = await browser.open()
    await page.size(1640, 600)
    style = "margin:0;padding:15px;display:flex;gap:20px;background:#e9edf0"
    framed = "width:795px;border-radius:10px;box-shadow:0 2px 12px #0003"
    sources = [base64.b64encode((images / name).read_bytes()).decode() for name in NAMES]
    body = "".join(f"<img style='{framed}' src='data:image/png;base64,{source}'>" for source in sources)
    await page.evaluate(f"document.body.style.cssText = {json.dumps(style)}")
    await page.evaluate(f"document.body.innerHTML = {json.dumps(body)}")
    await page.wait_for("[...document.images].length === 2 && [...document.images].every(e => e.naturalWidth)")
    await page.size(1640, await page.evaluate("Math.ceil(document.images[0].getBoundingClientRect().height) + 30"))
    await page.picture(images / "demo.png")


async def main(images: Path, files: http.server.ThreadingHTTPServer) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        server = demo_server(directory)
        await server.begin()
        homeserver = quote(f"http://localhost:{server.port}", safe="")
        try:
            async with chromium(directory) as browser:
                await take_pictures(
                    browser,
                    images,
                    f"http://localhost:{server.web_port}/webchat/demo",
                    f"http://localhost:{files.server_port}/?homeserver={homeserver}",
                    server.password,
                )
        finally:
            await asyncio.to_thread(server.stop)


def run() -> None:
    """On Twisted's reactor, which the connection to the browser needs."""
    images, hydrogen = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
    images.mkdir(parents=True, exist_ok=True)
    files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(hydrogen)))
    threading.Thread(target=files.serve_forever, daemon=True).start()
    from twisted.internet import asyncioreactor

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    asyncioreactor.install(loop)  # type: ignore[no-untyped-call]
    from twisted.internet import reactor

    starting: object = reactor
    starting.startRunning(installSignalHandlers=False)  # type: ignore[attr-defined]
    loop.run_until_complete(main(images, files))


if __name__ == "__main__":
    run()
