"""A person logs in by an identity provider that others wrote (oidc-provider from npm, certified), in a real browser."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import KIND
from tests.end_to_end.javascript import node_with_library
from tests.support.browser import Page, chromium
from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import free_port

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(KIND != "halfdoor", reason="its settings are Halfdoor's"),
]

FOLDER = Path(__file__).parent / "js" / "oidc"
SECRET = "a secret of the company: 100%"


@contextlib.asynccontextmanager
async def identity_provider(**given: Any) -> AsyncIterator[None]:
    """The provider's process."""
    process = await asyncio.create_subprocess_exec(
        node_with_library(FOLDER),
        "provider.mjs",
        json.dumps(given),
        cwd=FOLDER,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            async for line in process.stdout:
                if b"ready" in line:
                    break
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def click(page: Page, selector: str) -> None:
    """Click, and wait for the page that follows."""
    await page.evaluate("window.__old = true")
    await page.evaluate(f"document.querySelector({json.dumps(selector)}).click()")
    await page.wait_for("!window.__old && document.readyState === 'complete'")


async def test_a_person_of_the_company_logs_in_and_is_logged_out_by_it(tmp_path: Path) -> None:
    port, provider_port = free_port(), free_port()
    base, issuer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{provider_port}"
    ours = f"{base}/_halfdoor/account/providers/company"
    company = {
        "id": "company",
        "name": "Company login",
        "issuer": issuer,
        "client_id": "halfdoor",
        "client_secret": SECRET,
        "scopes": ["openid", "profile", "email"],
    }
    (tmp_path / "server").mkdir()
    provider = identity_provider(
        port=provider_port, redirectUri=f"{ours}/callback", logoutUri=f"{ours}/backchannel_logout", secret=SECRET
    )
    server = halfdoor(tmp_path / "server", port=port, settings={"identity_providers": [company]})
    async with provider, chromium(tmp_path) as browser:
        await asyncio.to_thread(server.start)
        try:
            page = await browser.open(stranger=True)
            await page.go(f"{base}/_halfdoor/account/manage")
            await click(page, "a.button")
            await page.wait_for("document.forms[0].elements.login !== undefined")
            assert str(await page.evaluate("location.href")).startswith(issuer)
            await page.evaluate("document.forms[0].elements.login.value = 'dora'")
            await page.evaluate("document.forms[0].elements.password.value = 'anything'")
            await click(page, "button[type=submit]")
            await click(page, "button[type=submit]")  # the provider's own consent
            await page.wait_for(f"location.href.startsWith({json.dumps(base)})")
            assert "@dora:halfdoor.test" in await page.evaluate("document.body.innerText")
            assert await page.evaluate("document.forms[0].elements.name.value") == "dora of the company"

            await page.go(f"{issuer}/session/end")
            await click(page, "button[name=logout]")
            async with asyncio.timeout(60):  # the provider calls us a moment later
                while "/login" not in await page.evaluate("location.href"):
                    await asyncio.sleep(0.1)
                    await page.go(f"{base}/_halfdoor/account/manage")
        finally:
            await asyncio.to_thread(server.stop)
