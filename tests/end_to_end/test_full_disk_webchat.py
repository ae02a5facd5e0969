"""A full disk below the web chat: visitors are told nothing that is not so, and go on when there is space."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from tests.end_to_end.crash.checks import check_log
from tests.end_to_end.crash.webchat import ORIGIN, SITE
from tests.end_to_end.test_restart import CLIENT, fill_up, small_disk
from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import ServerProcess, free_port

__all__ = ["small_disk"]

pytestmark = pytest.mark.end_to_end


class Browser:
    """One conversation over as many connections as it takes."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = address
        self.token: str | None = None

    async def try_to_say(self, client_id: str, text: str) -> bool:
        """One attempt, as the widget makes it; whether it was acknowledged."""
        try:
            async with self._session.ws_connect(self._address, origin=ORIGIN) as socket:
                await socket.send_json({"type": "hello", "site": SITE, "token": self.token, "since": 0})
                await socket.send_json({"type": "message", "client_id": client_id, "text": text})
                async with asyncio.timeout(30):
                    async for message in socket:
                        if message.type is not aiohttp.WSMsgType.TEXT:
                            return False
                        frame = message.json()
                        if frame["type"] == "welcome":
                            self.token = frame["token"]
                        if frame["type"] == "ack" and frame["client_id"] == client_id:
                            return True
                        if frame["type"] == "error":
                            return False
        except (aiohttp.ClientError, TimeoutError):
            return False
        return False


async def test_full_disk_acknowledges_no_visitor_and_loses_none(small_disk: Path) -> None:
    port = free_port()
    site = {"key": SITE, "origins": [ORIGIN], "staff": ["@mei:halfdoor.test"], "title": "Shop"}
    server = halfdoor(small_disk, settings={"webchat": {"enabled": True, "port": port, "sites": [site]}})
    await asyncio.to_thread(server.start)
    try:
        account = await asyncio.to_thread(server.register, "mei")
        async with aiohttp.ClientSession() as session:
            browser = Browser(session, f"http://127.0.0.1:{port}/webchat/ws")
            assert await browser.try_to_say("message-1", "the first")
            room_id = await invited_room(server, account.access_token)
            fill = small_disk / "fill"
            fill_up(fill)
            acknowledged = 0
            for number in range(2, 12):
                if not await browser.try_to_say(f"message-{number}", "x" * 1500):
                    break
                acknowledged += 1
            else:
                pytest.fail("ten messages found room on a full disk")
            fill.unlink()
            texts = ["the first", *["x" * 1500] * acknowledged, "after that"]
            async with asyncio.timeout(60):
                await say(browser, "message-after", "after that")
                await wait_for_messages(server, account.access_token, room_id, texts)
    finally:
        await asyncio.to_thread(server.stop)
    assert not check_log(server.log_file.read_text(errors="replace"))


async def say(browser: Browser, client_id: str, text: str) -> None:
    """As the widget does: again until it is acknowledged."""
    while not await browser.try_to_say(client_id, text):  # noqa: ASYNC110 - it is no wait
        await asyncio.sleep(0.2)


async def wait_for_messages(server: ServerProcess, token: str, room_id: str, texts: list[str]) -> None:
    while await asyncio.to_thread(messages, server, token, room_id) != texts:  # noqa: ASYNC110 - it is no wait
        await asyncio.sleep(0.2)


async def invited_room(server: ServerProcess, token: str) -> str:
    """Wait for the invitation to the visitor's room, and join it."""
    async with asyncio.timeout(60):
        while True:
            _, answer = await asyncio.to_thread(server.call, "GET", f"{CLIENT}/sync?timeout=500", token=token)
            for room_id in answer.get("rooms", {}).get("invite", {}):
                path = f"{CLIENT}/rooms/{quote(room_id)}/join"
                assert (await asyncio.to_thread(server.call, "POST", path, {}, token=token))[0] == 200
                return str(room_id)


def messages(server: ServerProcess, token: str, room_id: str) -> list[str]:
    """What was said in a room, the oldest first."""
    _, page = server.call("GET", f"{CLIENT}/rooms/{quote(room_id)}/messages?dir=f&limit=1000", token=token)
    return [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]
