"""D19: a room with very many members and state events is joined, read and synchronised in bounded time and memory."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from tests.support.server import Server, User, open_server

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]

MEMBERS = 2_000
STATE_EVENTS = 5_000
AT_ONCE = 100
LAZY = json.dumps({"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 20}}})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    opened = open_server()
    yield opened
    await opened.close()


async def fill(server: Server, alice: User, room: str) -> None:
    for first in range(0, MEMBERS, AT_ONCE):
        people = [await server.register(f"m{number}") for number in range(first, first + AT_ONCE)]
        await asyncio.gather(*(user.join(room) for user in people))
    for first in range(0, STATE_EVENTS, AT_ONCE):
        numbers = range(first, first + AT_ONCE)
        await asyncio.gather(
            *(
                alice.set_state(room, "org.example.state", {"n": number, "text": "x" * 100}, f"k{number}")
                for number in numbers
            )
        )


async def test_D19_a_huge_room_is_joined_and_synchronised_in_bounded_time_and_memory(server: Server) -> None:
    alice, zoe = await server.register("alice"), await server.register("zoe")
    room = await alice.create_room(preset="public_chat")
    await fill(server, alice, room)
    server.homeserver.rooms.live.forget_all()
    tracemalloc.start()
    began = time.monotonic()
    await zoe.join(room)
    joining = time.monotonic() - began
    answer = await zoe.request("GET", "/sync", filter=LAZY)
    synced = time.monotonic() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    state = answer.json["rooms"]["join"][room]["state"]["events"]
    assert len([event for event in state if event["type"] == "org.example.state"]) >= STATE_EVENTS - 20
    assert len([event for event in state if event["type"] == "m.room.member"]) < 30, "members are loaded lazily"
    assert answer.json["rooms"]["join"][room]["summary"]["m.joined_member_count"] == MEMBERS + 2
    assert joining < 10
    assert synced < 20
    assert peak < 150 * 2**20, f"{peak / 2**20:.0f} MiB"
    members = (await zoe.get(f"/rooms/{room}/joined_members"))["joined"]
    assert len(members) == MEMBERS + 2
    assert (await zoe.sync(timeout=0, filter=LAZY))["next_batch"]
    before = time.monotonic()
    await alice.say(room, "still quick")
    assert time.monotonic() - before < 1
