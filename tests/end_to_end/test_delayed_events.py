"""Delayed events of a server that is killed: what was due meanwhile is sent after the start, and nothing twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import Account, ServerProcess

pytestmark = pytest.mark.end_to_end

V3 = "/_matrix/client/v3"


def call(server: ServerProcess, account: Account, method: str, path: str, body: Any = None) -> Any:
    status, answer = server.call(method, V3 + path, body, token=account.access_token)
    assert status == 200, answer
    return answer


def bodies(server: ServerProcess, account: Account, room_id: str) -> list[str]:
    chunk = call(server, account, "GET", f"/rooms/{room_id}/messages?dir=b&limit=50")["chunk"]
    return sorted(event["content"]["body"] for event in chunk if event["type"] == "m.room.message")


async def test_events_that_were_due_while_the_server_was_down_are_sent_once(tmp_path: Path) -> None:
    with halfdoor(tmp_path) as server:
        alice = server.register("alice")
        room_id = call(server, alice, "POST", "/createRoom", {})["room_id"]

        def schedule(body: str, delay_ms: int) -> None:
            path = f"/rooms/{room_id}/send/m.room.message/{quote(body)}?org.matrix.msc4140.delay={delay_ms}"
            call(server, alice, "PUT", path, {"msgtype": "m.text", "body": body})

        for number in range(20):
            schedule(f"soon {number:02}", 200 + 20 * number)  # the server dies while it sends these
        schedule("while down", 1_500)
        schedule("later", 60_000)
        await asyncio.sleep(0.35)
        server.kill()
        await asyncio.sleep(1.5)
        server.start()
        expected = [*(f"soon {number:02}" for number in range(20)), "while down"]
        for _ in range(100):
            if bodies(server, alice, room_id) == expected:
                break
            await asyncio.sleep(0.1)
        assert bodies(server, alice, room_id) == expected
        server.kill()
        server.start()
        await asyncio.sleep(0.5)
        assert bodies(server, alice, room_id) == expected
