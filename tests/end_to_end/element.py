"""Element, the web client that most people use, as a page that tests drive by what is on the screen.

The screens are those of matrix-react-sdk, the package of the npm registry that holds them all (its newest, 3.114.0 of
October 2024; later ones are in no package). `js/element` bundles it with the little that the element-web repository
puts around it: the configuration, the start, and the service worker that shows authenticated media. Styles are left
out.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.end_to_end.javascript import checked_node
from tests.support.browser import Browser, Page

FOLDER = Path(__file__).with_name("js") / "element"
BUTTONS = "[role=button],[role=menuitem],button,a,input[type=submit]"
PICTURE = """(() => {
    const input = document.querySelector('.mx_MessageComposer input[type=file]');
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [200, 100];
    canvas.getContext('2d').fillRect(20, 20, 100, 50);
    return new Promise((resolve) => canvas.toBlob((blob) => {
        const chosen = new DataTransfer();
        chosen.items.add(new File([blob], 'plan.png', { type: 'image/png' }));
        input.files = chosen.files;
        input.dispatchEvent(new Event('change', { bubbles: true }));
        resolve();
    }));
})()"""


def build_element() -> Path:
    """The folder of the built page; installs and builds it when its sources changed."""
    checked_node()
    npm = shutil.which("npm")
    assert npm is not None
    sources = sorted(file for file in FOLDER.iterdir() if file.is_file())
    site, done = FOLDER / "node_modules" / ".site", FOLDER / "node_modules" / ".built"
    with (FOLDER / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = "\n".join(file.read_text() for file in sources)
        if not done.exists() or done.read_text() != wanted:
            quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--legacy-peer-deps", "--loglevel=error"]
            for command in ([npm, "ci", *quiet], [npm, "run", "--silent", "build"]):
                result = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=400)
                assert result.returncode == 0, f"npm could not make Element:\n{result.stderr[-2000:]}"
            done.write_text(wanted)
    return site


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the files: `localhost`, where browsers allow service workers without https."""
    files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=files.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{files.server_port}/"
    finally:
        files.shutdown()
        files.server_close()


class Element:
    """One browser with Element in it, in front of one person."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self._address = address

    @classmethod
    async def open(cls, browser: Browser, site: str, homeserver: str, server_name: str) -> Element:
        """A browser of its own that nobody has logged in to."""
        page = await browser.open(stranger=True)
        await page.size(1280, 900)
        return cls(page, f"{site}?homeserver={quote(homeserver, safe='')}&name={quote(server_name)}")

    async def register(self, name: str, password: str) -> None:
        await self.page.go(f"{self._address}#/register")
        for field, text in (("username", name), ("password", password), ("passwordConfirm", password)):
            await self.fill(f"#mx_RegistrationForm_{field}", text)
        await self.click(".mx_Login_submit")
        await self.press("Skip")  # whom one will chat to
        await self.until("!!document.querySelector('.mx_LeftPanel')")

    async def log_in(self, name: str, password: str) -> None:
        """On the pages of the homeserver, to which Element sends whoever logs in."""
        await self.page.go(f"{self._address}#/login")
        await self.press("Continue")
        await self.fill("input[name=user]", name)
        await self.fill("input[name=password]", password)
        await self.click("form button[type=submit]")
        await self.until("location.pathname.endsWith('/sso') && !!document.querySelector('form')")
        await self.press("Continue")

    async def log_out(self) -> None:
        await self.click("[aria-label='User menu']")
        await self.click("[role=menuitem][aria-label='Sign out']")
        choices = ".mx_Dialog .mx_Dialog_primary, .mx_AuthPage"
        await self.until(f"!!document.querySelector({json.dumps(choices)})")
        if await self.page.evaluate("!document.querySelector('.mx_AuthPage')"):
            await self.press("I don't want my encrypted messages")
        await self.until("!!document.querySelector('.mx_AuthPage')")

    async def create_room(self, name: str) -> str:
        """A private room without encryption, so that the server can search it; its id."""
        await self.show("new")
        await self.fill(".mx_Dialog input[label=Name]", name)
        await self.click(".mx_Dialog [role=switch]")
        await self.press("Create room")
        await self.until("location.hash.startsWith('#/room/!')")
        return str(await self.page.evaluate("location.hash.slice('#/room/'.length).split('?')[0]"))

    async def invite(self, user_id: str) -> None:
        await self.press("Invite to this room")
        await self.fill("[data-testid=invite-dialog-input]", user_id)
        await self.page.press("Enter", 13, "\r")
        await self.press("Invite")
        await self.until("!document.querySelector('.mx_InviteDialog_other')")

    async def accept_invitation(self, room_id: str) -> None:
        await self.until("!!document.querySelector('.mx_RoomTile')")
        await self.show(f"room/{room_id}")
        await self.press("Accept")

    async def say(self, text: str, where: str = ".mx_RoomView_body") -> None:
        await self._compose(f"{where} .mx_BasicMessageComposer_input", text)

    async def edit_last(self, text: str) -> None:
        """The arrow up in an empty composer opens what one said last."""
        composer = ".mx_RoomView_body .mx_BasicMessageComposer_input"
        await self.page.evaluate(f"document.querySelector({json.dumps(composer)}).focus()")
        await self.page.press("ArrowUp", 38)
        await self._compose(".mx_EditMessageComposer .mx_BasicMessageComposer_input", text)

    async def send_picture(self) -> None:
        await self.page.evaluate(PICTURE)
        await self.press("Upload")

    async def react(self, text: str, emoji: str) -> None:
        await self._hover(text)
        await self.click(".mx_MessageActionBar [aria-label=React]")
        cells = ".mx_EmojiPicker [role=gridcell], .mx_EmojiPicker [role=button]"
        wanted = f"[...document.querySelectorAll({json.dumps(cells)})].find(e => e.innerText.includes('{emoji}'))"
        await self.until(f"!!{wanted}")
        await self.page.evaluate(f"{wanted}.click()")

    async def answer_in_thread(self, text: str, answer: str) -> None:
        await self._hover(text)
        await self.click(".mx_MessageActionBar [aria-label='Reply in thread']")
        await self.say(answer, ".mx_ThreadView")

    async def search(self, words: str) -> str:
        """What the results' panel shows."""
        await self.click("button.mx_RoomHeader_infoWrapper")
        await self.fill("input[name=room_message_search]", words)
        await self.page.press("Enter", 13, "\r")
        await self.until("!!document.querySelector('.mx_RoomView_searchResultsPanel .mx_EventTile')")
        return str(await self.page.evaluate("document.querySelector('.mx_RoomView_searchResultsPanel').innerText"))

    async def sees(self, text: str, where: str = ".mx_EventTile_body") -> None:
        found = (
            f"[...document.querySelectorAll({json.dumps(where)})].some(e => e.innerText.includes({json.dumps(text)}))"
        )
        await self.until(found)

    async def sees_picture(self) -> None:
        await self.until("document.querySelector('img.mx_MImageBody_thumbnail')?.naturalWidth > 0")

    async def emojis(self) -> list[str]:
        """The seven of a verification, by name."""
        labels = "[...document.querySelectorAll('.mx_VerificationShowSas_emojiSas_label')].map(e => e.innerText)"
        await self.until(f"{labels}.length === 7")
        shown: list[str] = await self.page.evaluate(labels)
        return shown

    async def crypto(self, question: str) -> Any:
        """The answer of the client's own encryption, such as `getCrossSigningStatus()`."""
        return await self.page.evaluate(f"mxMatrixClientPeg.get().getCrypto().{question}")

    async def show(self, screen: str) -> None:
        await self.page.evaluate(f"location.hash = {json.dumps(f'#/{screen}')}")

    async def until(self, condition: str, seconds: float = 90.0) -> None:
        await self.page.wait_for(condition, seconds)

    async def fill(self, selector: str, text: str) -> None:
        await self.until(f"!!document.querySelector({json.dumps(selector)})")
        await self.page.evaluate(
            f"(e => {{ e.focus(); e.select?.(); }})(document.querySelector({json.dumps(selector)}))"
        )
        await self.page.type(text)

    async def click(self, selector: str) -> None:
        await self.until(f"!!document.querySelector({json.dumps(selector)})")
        await self.page.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def press(self, label: str, seconds: float = 90.0) -> None:
        """A button by what is written on it."""
        found = (
            f"[...document.querySelectorAll({json.dumps(BUTTONS)})]"
            f".find(e => (e.innerText || e.value || '').trim() === {json.dumps(label)})"
        )
        await self.until(f"!!{found}", seconds)
        await self.page.evaluate(f"{found}.click()")

    async def _compose(self, composer: str, text: str) -> None:
        await self.until(f"!!document.querySelector({json.dumps(composer)})")
        await self.page.evaluate(f"document.querySelector({json.dumps(composer)}).focus()")
        await self.page.evaluate("document.execCommand('selectAll')")
        await self.page.type(text)
        await self.page.press("Enter", 13, "\r")

    async def _hover(self, text: str) -> None:
        """Move the mouse over a message, which shows what can be done with it."""
        place = await self.page.evaluate(
            "(() => { const tile = [...document.querySelectorAll('.mx_RoomView_body .mx_EventTile')]"
            f".findLast(e => e.innerText.includes({json.dumps(text)})); tile.scrollIntoView({{ block: 'center' }});"
            " const box = tile.getBoundingClientRect(); return [box.x + 60, box.y + box.height / 2]; })()"
        )
        for x, y in ((1, 1), place):
            await self.page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
            await asyncio.sleep(0)
        await self.until("!!document.querySelector('.mx_MessageActionBar')")
