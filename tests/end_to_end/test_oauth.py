"""matrix-js-sdk logs in by the OAuth 2.0 API at a running server, with a person at the pages in headless Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.end_to_end.conftest import KIND
from tests.support.browser import Page, chromium
from tests.support.server_process import Account, ServerProcess

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(KIND != "halfdoor", reason="Synapse alone has no OAuth 2.0 API"),
]

FOLDER = Path(__file__).with_name("js")
FLOW_SECONDS = 200
Person = Callable[[str], Awaitable[str]]


@contextlib.asynccontextmanager
async def callback_page() -> AsyncIterator[str]:
    """What a native app listens on while it waits for its answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone"
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"
    finally:
        server.close()


async def play(node: str, server: ServerProcess, name: str, person: Person, **more: Any) -> dict[str, Any]:
    """One flow of oauth.mjs; `person` opens an address and says where they ended."""
    given = {"baseUrl": server.base_url, **more}
    process = await asyncio.create_subprocess_exec(
        node,
        "oauth.mjs",
        name,
        json.dumps(given),
        cwd=FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(FLOW_SECONDS):
            async for line in process.stdout:
                if not line.startswith(b"{"):
                    continue  # the library prints now and then
                said = json.loads(line)
                assert "failure" not in said, said["failure"]
                if "facts" in said:
                    facts: dict[str, Any] = said["facts"]
                    return facts
                process.stdin.write(f"{await person(said['open'])}\n".encode())
                await process.stdin.drain()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        _, complaint = await process.communicate()
    raise AssertionError(f"the flow ended without a word: {complaint.decode()[-2000:]}")


async def fill_in(page: Page, **values: str) -> None:
    """Type into the fields of the page's first form and send it, as a person does."""
    for name, value in values.items():
        await page.evaluate(f"document.forms[0].elements[{json.dumps(name)}].focus()")
        await page.evaluate(f"document.forms[0].elements[{json.dumps(name)}].value = ''")
        await page.type(value)
    await page.evaluate("window.__old = true")
    await page.evaluate("document.forms[0].querySelector('button').click()")
    await page.wait_for("!window.__old && document.readyState === 'complete'")


@pytest.mark.parametrize("mode", ["fragment", "query"])
async def test_an_app_logs_in_refreshes_and_logs_out(
    node: str, server: ServerProcess, person: Callable[[str], Account], tmp_path: Path, mode: str
) -> None:
    account = person("oauth")
    async with chromium(tmp_path) as browser, callback_page() as callback:
        page = await browser.open(stranger=True)

        async def allow(url: str) -> str:
            await page.go(url)
            await fill_in(page, user=account.user_id, password=account.password)
            assert account.user_id in await page.evaluate("document.body.innerText")
            assert "End to end" in await page.evaluate("document.body.innerText")
            assert await page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "448px"
            await fill_in(page)
            return str(await page.evaluate("location.href"))

        facts = await play(node, server, "code", allow, callback=callback, mode=mode)
        assert facts["state"] == "the-state"
        assert facts["first"] == facts["second"] == [account.user_id, facts["asked"]]
        assert facts["after"] == "M_UNKNOWN_TOKEN"
        assert "org.matrix.cross_signing_reset" in facts["actions"]
        assert page.errors == []


async def test_a_device_without_a_browser_logs_in(
    node: str, server: ServerProcess, person: Callable[[str], Account], tmp_path: Path
) -> None:
    account = person("device")
    async with chromium(tmp_path) as browser:
        page = await browser.open(stranger=True)

        async def allow(url: str) -> str:
            await page.go(url)
            await fill_in(page, user=account.user_id, password=account.password)
            await fill_in(page)
            assert "connected" in await page.evaluate("document.title")
            return str(await page.evaluate("location.href"))

        facts = await play(node, server, "device", allow)
        assert facts["who"] == [account.user_id, facts["asked"]]


async def test_two_devices_meet_for_a_qr_code(node: str, server: ServerProcess) -> None:
    async def nobody(url: str) -> str:
        raise AssertionError("nobody is asked anything")

    facts = await play(node, server, "rendezvous", nobody)
    assert facts["heard"] == ["hello", "hello back"]
    assert len(facts["failures"]) == 1


async def test_F08_hostile_names_run_nothing_on_our_pages_in_a_real_browser(
    server: ServerProcess, person: Callable[[str], Account], tmp_path: Path
) -> None:
    account = person("victim")
    base = server.base_url.rstrip("/")
    scripts = [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</title><svg onload=alert(1)>",
        "' autofocus onfocus=alert(1) '",
        "</style><iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    ]
    async with chromium(tmp_path) as browser, callback_page() as callback:
        page = await browser.open(stranger=True)
        await page.go(f"{base}/_halfdoor/account/login?next={quote(scripts[1])}&ui_locales={quote(scripts[0])}")
        await fill_in(page, user=scripts[3], password="wrong")
        assert await page.evaluate("document.forms[0].elements.user.value") == scripts[3]
        await fill_in(page, user=account.user_id, password=account.password)
        for text in scripts:
            headers = {"Authorization": f"Bearer {account.access_token}", "Content-Type": "application/json"}
            device = f"{base}/_matrix/client/v3/devices/{account.device_id}"
            await asyncio.to_thread(_send, "PUT", device, {"display_name": text}, headers)
            wanted = {
                "client_name": text,
                "client_uri": "https://app.example.com/",
                "application_type": "native",
                "redirect_uris": ["http://127.0.0.1/callback"],
            }
            registered = await asyncio.to_thread(_send, "POST", f"{base}/_halfdoor/oauth2/register", wanted, headers)
            query = urlencode(
                {
                    "response_type": "code",
                    "client_id": registered["client_id"],
                    "redirect_uri": callback,
                    "scope": "urn:matrix:client:api:* urn:matrix:client:device:HOSTILE1",
                    "code_challenge": "x" * 43,
                    "code_challenge_method": "S256",
                    "state": text,
                }
            )
            manage = f"{base}/_halfdoor/account/manage?action=org.matrix"
            for url in (
                f"{base}/_halfdoor/account/authorize?{query}",
                f"{manage}.devices_list",
                f"{manage}.device_view&device_id={account.device_id}",
                f"{manage}.device_view&device_id={quote(text)}",
                f"{base}/_halfdoor/account/link?user_code={quote(text)}",
                f"{base}/_halfdoor/account/sso?redirectUrl={quote('https://client.example/' + text)}",
            ):
                await page.go(url)
                assert await page.evaluate("document.querySelectorAll('script, img, svg, iframe').length") == 0, url
            await page.go(f"{base}/_halfdoor/account/authorize?{query}")
            assert text in await page.evaluate("document.body.textContent")
        assert page.dialogs == []


async def test_the_fallback_page_logs_in_by_password_and_by_single_sign_on(
    server: ServerProcess, person: Callable[[str], Account], tmp_path: Path
) -> None:
    account = person("fallback")
    base = server.base_url.rstrip("/")
    listen = "window.matrixLogin = { onLogin: (found) => (window.got = found) }"
    async with chromium(tmp_path) as browser:
        page = await browser.open(stranger=True)
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=listen)  # as an app's web view has it
        await page.go(f"{base}/_matrix/static/client/login/?device_id=FALLBACK1")
        for name, value in (("user", account.user_id), ("password", account.password)):
            await page.evaluate(f"document.forms[0].elements[{json.dumps(name)}].focus()")
            await page.type(value)
        await page.evaluate("document.forms[0].querySelector('button').click()")
        assert await page.wait_for("window.got && window.got.device_id") == "FALLBACK1"
        await page.go(f"{base}/_matrix/static/client/login/?device_id=FALLBACK2")
        await page.evaluate("window.__old = true")
        await page.evaluate("document.querySelector('a.button').click()")
        await page.wait_for("!window.__old && document.readyState === 'complete'")
        await fill_in(page, user=account.user_id, password=account.password)
        await fill_in(page)
        assert await page.wait_for("window.got && window.got.user_id") == account.user_id
        assert await page.evaluate("window.got.device_id") == "FALLBACK2"
        assert "loginToken" not in await page.evaluate("location.href")


def _send(method: str, url: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        found: dict[str, Any] = json.loads(answer.read())
        return found
