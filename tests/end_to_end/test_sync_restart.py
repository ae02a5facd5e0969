"""Who slides or syncs over WebSocket goes on where they were when the server has started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.sync.socket import GOING_AWAY
from tests.support.halfdoor_process import halfdoor
from tests.support.server_process import Account, ServerProcess
from tests.support.sliding_client import SLIDING_SYNC
from tests.support.sync_socket_client import SyncSocketClient

pytestmark = pytest.mark.end_to_end

CLIENT = "/_matrix/client/v3"
ASKED = {"lists": {"all": {"ranges": [[0, 9]], "timeline_limit": 5, "required_state": [["*", "*"]]}}}


class Person:
    def __init__(self, server: ServerProcess, account: Account) -> None:
        self.server, self.account, self.said = server, account, 0

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        token = self.account.access_token
        status, answer = await asyncio.to_thread(self.server.call, method, path, body, token=token)
        assert status == 200, answer
        return answer

    async def say(self, room_id: str, text: str) -> None:
        self.said += 1
        path = f"{CLIENT}/rooms/{quote(room_id)}/send/m.room.message/t{self.said}"
        await self.call("PUT", path, {"msgtype": "m.text", "body": text})


@pytest.mark.parametrize("stop", [ServerProcess.stop, ServerProcess.kill], ids=["stopped", "killed"])
async def test_every_kind_of_sync_goes_on_after_a_restart(tmp_path: Path, stop: Callable[[Any], None]) -> None:
    server = halfdoor(tmp_path)
    await asyncio.to_thread(server.start)
    try:
        ann = Person(server, server.register("ann"))
        room_id = (await ann.call("POST", f"{CLIENT}/createRoom", {}))["room_id"]
        quiet = (await ann.call("POST", f"{CLIENT}/createRoom", {}))["room_id"]
        first = await ann.call("POST", SLIDING_SYNC, ASKED)
        assert set(first["rooms"]) == {room_id, quiet}
        socket = SyncSocketClient(server.port)
        await socket.hello(ann.account.access_token)
        since = (await socket.delta())["next_batch"]
        await ann.say(room_id, "one")
        await asyncio.to_thread(stop, server)
        code, _ = await socket.end()
        if stop is ServerProcess.stop:
            assert code == GOING_AWAY
        await asyncio.to_thread(server.start)
        await ann.say(room_id, "two")
        second = await ann.call("POST", f"{SLIDING_SYNC}?pos={quote(first['pos'])}", ASKED)
        assert set(second["rooms"]) == {room_id}
        assert [event["content"]["body"] for event in second["rooms"][room_id]["timeline"]] == ["one", "two"]
        again = SyncSocketClient(server.port)
        await again.hello(ann.account.access_token, since=since)
        events = (await again.delta())["rooms"]["join"][room_id]["timeline"]["events"]
        assert [event["content"]["body"] for event in events] == ["one", "two"]
        await again.close()
    finally:
        await asyncio.to_thread(server.stop)
