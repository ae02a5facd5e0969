"""A visitor in a real browser and one of the staff at a real homeserver talk through the bridge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bridges.webchat_at_homeserver import SITE, StandAlone, homeserver_with_webchat, running, settings_file
from tests.support.browser import Page, chromium

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]
BOTH = pytest.mark.parametrize("homeserver", ["synapse", "halfdoor"])

ROOT = "document.querySelector('[data-halfdoor]').shadowRoot"
BUBBLES = f"[...{ROOT}.querySelectorAll('.said .m .t, .unsent .m .t')].map(e => e.textContent)"


async def open_chat(page: Page) -> None:
    await page.wait_for("!!document.querySelector('[data-halfdoor]')")
    if await page.evaluate(f"{ROOT}.querySelector('.p').hidden"):
        await page.evaluate(f"{ROOT}.querySelector('.l').click()")


async def say(page: Page, text: str) -> None:
    await page.evaluate(f"{ROOT}.querySelector('textarea').focus()")
    await page.type(text)
    await page.press("Enter", 13, "\r")


async def wait_for_bubbles(page: Page, texts: list[str]) -> None:
    await page.wait_for(
        f"JSON.stringify({BUBBLES}) === {json.dumps(json.dumps(texts, ensure_ascii=False, separators=(',', ':')))}"
    )


@BOTH
async def test_visitor_and_staff_exchange_ten_messages_and_a_reload_keeps_them(homeserver: str, tmp_path: Path) -> None:
    async with (
        homeserver_with_webchat(homeserver, tmp_path) as (_, settings, mei),
        running(settings) as bridge,
        chromium(tmp_path) as browser,
    ):
        page = await browser.open(bridge.demo_url)
        await open_chat(page)
        said: list[str] = []
        room = ""
        for turn in range(5):
            said.append(f"question {turn} 有问题吗?")
            await say(page, said[-1])
            if not room:
                room = await mei.wait_for_invitation()
                await mei.join(room)
            await mei.wait_for_texts(room, said[::2])
            said.append(f"answer {turn} 有的。")
            await mei.say(room, said[-1])
            await wait_for_bubbles(page, said)
        assert [body for _, body in await mei.messages(room)] == said
        await page.reload()
        await open_chat(page)
        await wait_for_bubbles(page, said)
        assert page.errors == []
        assert await page.evaluate("Object.keys(window).filter(k => /halfdoor|chat/i.test(k))") == []
        await say(page, "after the reload")
        await mei.wait_for_texts(room, [*said[::2], "after the reload"])
        state: Any = await mei.call("GET", f"/rooms/{room}/state/m.room.name")
        assert state["name"].startswith("Visitor ")
        assert state["name"].endswith("· Lantern & Leaf — mountain teas")
        assert SITE not in (await mei.messages(room))[0][0]


@BOTH
async def test_W33_a_bridge_process_that_is_killed_again_and_again_loses_and_doubles_nothing(
    homeserver: str, tmp_path: Path
) -> None:
    async with homeserver_with_webchat(homeserver, tmp_path) as (_, settings, mei), chromium(tmp_path) as browser:
        config = settings_file(settings, tmp_path / "webchat.yaml")
        process = StandAlone(config, settings.web_port)
        try:
            await process.start()
            page = await browser.open(f"http://127.0.0.1:{settings.web_port}/webchat/demo")
            await open_chat(page)
            await say(page, "v0")
            room = await mei.wait_for_invitation()
            await mei.join(room)
            visitor, staff = ["v0"], []
            for number in range(1, 7):
                visitor.append(f"v{number}")
                staff.append(f"s{number}")
                await say(page, visitor[-1])
                if number % 2:
                    await process.kill()
                await mei.say(room, staff[-1])
                await say(page, f"w{number}")
                visitor.append(f"w{number}")
                if not number % 2:
                    await process.kill()
                await process.start()
            await page.wait_for(f"{ROOT}.querySelectorAll('.said .m').length === {len(visitor) + len(staff)}")
            texts = "[...%s.querySelectorAll('.said .m%s .t')].map(e => e.textContent)"
            assert await page.evaluate(texts % (ROOT, ".v")) == visitor
            assert await page.evaluate(texts % (ROOT, ":not(.v)")) == staff
            await mei.wait_for_texts(room, visitor)
            assert [body for sender, body in await mei.messages(room) if sender == mei.account.user_id] == staff
            await mei.sync()
            assert len(mei.invited) == 1
        finally:
            await process.kill()
