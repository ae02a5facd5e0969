"""A headless Chromium driven through its DevTools protocol: pages, scripts in them, pictures of them.

    async with chromium(tmp_path) as browser:
        page = await browser.open("http://127.0.0.1:8080/")
        await page.wait_for("document.title === 'ready'")

The DevTools connection is an Autobahn WebSocket on the tests' own reactor. Debian's package `chromium` is needed.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--no-first-run",
    "--no-proxy-server",
    "--mute-audio",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
ANSWER_SECONDS = 90.0
"""How long a browser on a busy machine may take for anything."""


class BrowserProblem(Exception):
    """The browser is missing, did not start, or a script in a page failed."""


def chromium_path() -> str | None:
    """Where Chromium is, or None (`apt-get install chromium`)."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class _DevTools(WebSocketClientProtocol):
    factory: Any

    def onOpen(self) -> None:
        self.factory.opened.set_result(self)

    def onMessage(self, payload: bytes, is_binary: bool) -> None:
        self.factory.receive(json.loads(payload))

    def onClose(self, was_clean: bool, code: int | None, reason: str | None) -> None:
        if not self.factory.gone.done():
            self.factory.gone.set_result(None)


class _Connection(WebSocketClientFactory):
    protocol: Any = _DevTools

    def __init__(self, url: str, reactor: Any) -> None:
        super().__init__(url, reactor=reactor)
        self.setProtocolOptions(maxMessagePayloadSize=0, maxFramePayloadSize=0, openHandshakeTimeout=ANSWER_SECONDS)
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[Any] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self.pages: dict[str, Page] = {}

    def receive(self, message: dict[str, Any]) -> None:
        answer = self._answers.pop(message.get("id", 0), None)
        if answer is not None and not answer.done():
            answer.set_result(message)
        elif "method" in message and message.get("sessionId") in self.pages:
            self.pages[message["sessionId"]].notice(message["method"], message.get("params", {}))

    async def call(self, method: str, params: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        (await asyncio.shield(self.opened)).sendMessage(json.dumps(message).encode())
        found = await asyncio.wait_for(answer, ANSWER_SECONDS)
        if "error" in found:
            raise BrowserProblem(f"{method}: {found['error'].get('message')}")
        result: dict[str, Any] = found.get("result", {})
        return result


class Page:
    """One tab. `dialogs` are the alerts that scripts opened (each is dismissed), `errors` what the console said."""

    def __init__(self, connection: _Connection, session: str, target: str) -> None:
        self._connection = connection
        self._session = session
        self._target = target
        self._tasks: set[asyncio.Task[Any]] = set()
        self.dialogs: list[str] = []
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.navigations: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A DevTools command in this tab."""
        return await self._connection.call(method, params, self._session)

    def notice(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.javascriptDialogOpening":
            self.dialogs.append(str(params.get("message")))
            task = asyncio.get_running_loop().create_task(self.call("Page.handleJavaScriptDialog", accept=False))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(params.get("exceptionDetails", {}).get("exception", {}).get("description")))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(str(params["entry"]["text"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(str(params["request"]["url"]))
        elif method == "Page.frameNavigated":
            self.navigations.append(str(params["frame"]["url"]))

    async def go(self, url: str) -> None:
        await self.call("Page.navigate", url=url)
        await self.wait_for("document.readyState === 'complete'")

    async def reload(self) -> None:
        await self.evaluate("window.__old = true")
        await self.call("Page.reload")
        await self.wait_for("!window.__old && document.readyState === 'complete'")

    async def evaluate(self, script: str) -> Any:
        """The value of an expression (a promise is awaited); raises BrowserProblem when it throws."""
        found = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise BrowserProblem(details.get("exception", {}).get("description") or details.get("text"))
        return found["result"].get("value")

    async def wait_for(self, script: str, seconds: float = ANSWER_SECONDS) -> Any:
        """Wait until an expression is true, asking again and again; its value."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            # While a page is being replaced there is no context to ask in.
            with contextlib.suppress(BrowserProblem):
                value = await self.evaluate(script)
                if value:
                    return value
            if loop.time() > end:
                raise BrowserProblem(f"not true within {seconds:g} s: {script}")
            await asyncio.sleep(0.05)

    async def type(self, text: str) -> None:
        """Text into whatever has the focus, as an input method would put it there."""
        await self.call("Input.insertText", text=text)

    async def press(self, key: str, code: int, text: str = "") -> None:
        more = {"text": text} if text else {}
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)
            more = {}

    async def size(self, width: int, height: int, *, mobile: bool = False) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    async def picture(self, path: Path) -> None:
        """A PNG of what is visible."""
        found = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(found["data"]))

    async def close(self) -> None:
        await self._connection.call("Target.closeTarget", {"targetId": self._target})


class Browser:
    """A running Chromium."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    async def open(self, url: str = "about:blank", *, stranger: bool = False) -> Page:
        """A new tab; with `stranger` in a profile of its own, as another person's browser."""
        more: dict[str, Any] = {}
        if stranger:
            context = await self._connection.call("Target.createBrowserContext", {})
            more = {"browserContextId": context["browserContextId"]}
        target = await self._connection.call("Target.createTarget", {"url": "about:blank", **more})
        attached = await self._connection.call(
            "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
        )
        page = Page(self._connection, attached["sessionId"], target["targetId"])
        self._connection.pages[attached["sessionId"]] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        if url != "about:blank":
            await page.go(url)
        return page


@contextlib.asynccontextmanager
async def chromium(directory: Path) -> AsyncIterator[Browser]:
    """Start Chromium with a fresh profile in `directory`, and end it. Raises BrowserProblem when there is none."""
    from twisted.internet import reactor

    path = chromium_path()
    if path is None:
        raise BrowserProblem("Chromium is not installed (apt-get install chromium).")
    profile = directory / "profile"
    # What Chromium says goes to a file: a pipe would stay open as long as any of its helpers lives.
    with (directory / "chromium.log").open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            path,
            *FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
    connection: _Connection | None = None
    try:
        url = await asyncio.wait_for(_address(process, profile, Path(said.name)), ANSWER_SECONDS)
        connection = _Connection(url, reactor)
        host, _, port = url.removeprefix("ws://").partition("/")[0].partition(":")
        any_reactor: Any = reactor
        any_reactor.connectTCP(host, int(port), connection)
        await asyncio.wait_for(asyncio.shield(connection.opened), ANSWER_SECONDS)
        yield Browser(connection)
    finally:
        if connection is not None and connection.opened.done():
            connection.opened.result().sendClose()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.gone, 5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.wait_for(process.wait(), ANSWER_SECONDS)


async def _address(process: asyncio.subprocess.Process, profile: Path, said: Path) -> str:
    """Where Chromium listens, which it writes into its profile."""
    file = profile / "DevToolsActivePort"
    while process.returncode is None:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) >= 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        await asyncio.sleep(0.05)
    last_words = await asyncio.to_thread(said.read_text, errors="replace")
    raise BrowserProblem(f"Chromium ended before it listened: {last_words[-2000:]}")
