"""Who is in more rooms than memory holds: what has no news is not loaded for a /sync."""

from __future__ import annotations

import pytest

from homeserver.rooms.live_room import LiveRoom, LiveRooms
from tests.support.server import open_server


async def test_news_of_one_room_loads_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    server = open_server()
    try:
        alice, bob = await server.register("alice"), await server.register("bob")
        rooms = [await alice.create_room(preset="public_chat") for _ in range(6)]
        for room_id in rooms:
            await bob.join(room_id)
        since = (await alice.sync())["next_batch"]
        server.homeserver.rooms.live.forget_all()
        loaded: list[str] = []
        load = LiveRooms._load

        async def watched(self: LiveRooms, room_id: str) -> LiveRoom | None:
            loaded.append(room_id)
            return await load(self, room_id)

        monkeypatch.setattr(LiveRooms, "_load", watched)
        await bob.say(rooms[2], "有新消息")
        body = await alice.sync(since=since)
        assert list(body["rooms"]["join"]) == [rooms[2]]
        assert loaded == [rooms[2]]
    finally:
        await server.close()
