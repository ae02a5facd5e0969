"""A visitor in a real browser and one of the staff at a real homeserver talk through the bridge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bridges.webchat_on_synapse import SITE, running, synapse_with_webchat
from tests.support.browser import Page, chromium

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(240)]

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


async def test_visitor_and_staff_exchange_ten_messages_and_a_reload_keeps_them(tmp_path: Path) -> None:
    async with (
        synapse_with_webchat(tmp_path) as (_, settings, mei),
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
