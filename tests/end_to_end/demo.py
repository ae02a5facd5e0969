"""What `scripts/demo` starts, with its two sides: one of the staff at matrix-js-sdk, visitors in Chromium.

Both sides reach the server through proxies of their own, whose connections a test can cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.end_to_end.cutting_proxy import CuttingProxy
from tests.support.browser import Browser, BrowserProblem, Page
from tests.support.server_process import START_TIMEOUT_SECONDS, ServerProcess, free_port

REPOSITORY = Path(__file__).resolve().parents[2]
STAFF_SCRIPT = Path(__file__).with_name("js") / "staff.mjs"
ANSWER_SECONDS = 120
RUNNING = "Halfdoor is running"

ROOT = "document.querySelector('[data-halfdoor]').shadowRoot"
BUBBLES = f"[...{ROOT}.querySelectorAll('.said .m .t, .unsent .m .t')].map(e => e.textContent)"
TAKEN = f"[...{ROOT}.querySelectorAll('.said .m .t')].map(e => e.textContent)"


class DemoServer(ServerProcess):
    """`halfdoor demo` on a folder and two neighbouring ports of its own."""

    @property
    def web_port(self) -> int:
        return self.port + 1

    @property
    def folder(self) -> Path:
        return self.directory / "halfdoor-data"

    @property
    def password(self) -> str:
        """The staff account's, as the demo wrote it down."""
        return str(json.loads((self.folder / "demo.json").read_text())["password"])

    def runs(self) -> int:
        """How often it has said, since the folder was made, that it is running."""
        return self.log_file.read_text().count(RUNNING) if self.log_file.exists() else 0

    async def begin(self) -> None:
        """Start, and return when it says that it runs, which is after the staff account is there."""
        before = self.runs()
        await asyncio.to_thread(self.start)
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            while self.runs() == before:  # noqa: ASYNC110  (it says so in its log alone)
                await asyncio.sleep(0.05)

    def allow_origin(self, origin: str) -> None:
        """Let the demo page be opened under another address, such as a proxy's."""
        file = self.folder / "halfdoor.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["webchat"]["sites"][0]["origins"].append(origin)
        file.write_text(yaml.safe_dump(settings))


def demo_server(directory: Path) -> DemoServer:
    """A demo that is not started yet, on two free neighbouring ports."""
    port = free_port(neighbours=1)
    return DemoServer(
        kind="demo",
        command=[sys.executable, "-m", "homeserver", "demo", "--data-dir", "halfdoor-data", "--port", str(port)],
        port=port,
        server_name="localhost",
        shared_secret="",
        directory=directory,
        environment={"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
    )


class StaffClient:
    """One of the staff: `js/staff.mjs`, which does what it is told, one thing after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self._invitations: list[str] = []

    async def do(self, deed: str, **more: Any) -> Any:
        async with self._turn:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"do": deed, **more}).encode() + b"\n")
            return await self.answer()

    async def answer(self) -> Any:
        """The next answer; raises AssertionError with the script's words when it failed."""
        assert self._process.stdout is not None
        async with asyncio.timeout(ANSWER_SECONDS):
            async for line in self._process.stdout:
                if line.startswith(b"{"):
                    said = json.loads(line)
                    assert "failure" not in said, said["failure"]
                    return said["answer"]
        assert self._process.stderr is not None
        raise AssertionError(f"the staff's client ended: {(await self._process.stderr.read()).decode()[-2000:]}")

    async def take_invitation(self) -> str:
        """Wait for an invitation that was not seen before, and join its room; the room."""
        invitation = await self.do("invitation", known=self._invitations)
        self._invitations.append(invitation["room"])
        await self.do("join", room=invitation["room"])
        return str(invitation["room"])

    async def texts(self, room: str, count: int) -> list[str]:
        """What the client shows in the room once there are so many messages."""
        return [text for _, text in await self.do("shown", room=room, count=count)]


@contextlib.asynccontextmanager
async def staff_client(node: str, base_url: str, user_id: str, password: str) -> AsyncIterator[StaffClient]:
    """Log in and sync."""
    process = await asyncio.create_subprocess_exec(
        node,
        str(STAFF_SCRIPT),
        json.dumps({"baseUrl": base_url, "userId": user_id, "password": password}),
        cwd=STAFF_SCRIPT.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**24,
        start_new_session=True,
    )
    try:
        client = StaffClient(process)
        assert await client.answer() == user_id
        yield client
    finally:
        # The whole session: Node.js from PyPI is a program that starts another, which would keep the pipes open.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


class Visitor:
    """Somebody on the demo page, in a browser profile of their own."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def open_chat(self) -> None:
        await self.page.wait_for("!!document.querySelector('[data-halfdoor]')")
        if await self.page.evaluate(f"{ROOT}.querySelector('.p').hidden"):
            await self.page.evaluate(f"{ROOT}.querySelector('.l').click()")

    async def say(self, text: str) -> None:
        await self.page.evaluate(f"{ROOT}.querySelector('textarea').focus()")
        await self.page.type(text)
        await self.page.press("Enter", 13, "\r")

    async def texts(self) -> list[str]:
        """What the widget shows, whether the server has it or not."""
        found: list[str] = await self.page.evaluate(BUBBLES)
        return found

    async def wait_for_texts(self, texts: Sequence[str]) -> None:
        """Wait until the widget shows exactly these in this order, each of them taken by the server."""
        wanted = json.dumps(json.dumps(texts, ensure_ascii=False, separators=(",", ":")))
        try:
            await self.page.wait_for(f"JSON.stringify({BUBBLES}) === {wanted}")
            await self.page.wait_for(f"{TAKEN}.length === {len(texts)}")
        except BrowserProblem as problem:
            raise AssertionError(f"the widget shows {await self.texts()} instead of {list(texts)}") from problem

    async def wait_for_count(self, count: int) -> list[str]:
        """Wait until the server has taken, or sent, so many messages; all that the widget shows then."""
        await self.page.wait_for(f"{TAKEN}.length >= {count}")
        return await self.texts()

    async def wait_for_typing(self, line: str) -> None:
        typing = f"{ROOT}.querySelector('.y').textContent"
        try:
            await self.page.wait_for(f"{typing} === {json.dumps(line)}")
        except BrowserProblem as problem:
            raise AssertionError(f"the widget says {await self.page.evaluate(typing)!r}, not {line!r}") from problem

    async def reload(self) -> None:
        await self.page.reload()
        await self.open_chat()


@dataclass
class Demo:
    """A running demo, its staff, and the proxies between."""

    server: DemoServer
    staff: StaffClient
    browser: Browser
    client_proxy: CuttingProxy
    web_proxy: CuttingProxy
    visitors: list[Visitor] = field(default_factory=list)

    async def visitor(self) -> Visitor:
        """Somebody new opens the page and the chat on it."""
        page = await self.browser.open(f"{self.web_proxy.base_url}/webchat/demo", stranger=True)
        visitor = Visitor(page)
        self.visitors.append(visitor)
        await visitor.open_chat()
        return visitor

    async def crash(self) -> None:
        """kill -9, and start again on the same folder."""
        await asyncio.to_thread(self.server.kill)
        await self.server.begin()
