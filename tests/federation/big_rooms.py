"""Rooms of many members, whose state arrives when a test lets it, and what must hold of them in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from homeserver.outbound.client import OutboundAnswer
from homeserver.rooms.live_room import MEMBER
from homeserver.rooms.pipeline import Draft
from tests.support.federation import FederatedServer, Network, settle
from tests.support.outbound import SentRequest
from tests.support.server import User

MEMBERS = 60


async def crowd(server: FederatedServer, room_id: str, number: int = MEMBERS, name: str = "member") -> list[str]:
    """Many users of a server join a room, as cheaply as can be."""
    users = [f"@{name}{index}:{server.name}" for index in range(number)]
    drafts = [Draft(user, MEMBER, {"membership": "join", "displayname": user[1:6]}, state_key=user) for user in users]
    await server.homeserver.rooms.pipeline.send_all(room_id, drafts)
    return users


async def big_room(one: FederatedServer, **settings: Any) -> tuple[User, str]:
    alice = await one.register("alice")
    room_id = await alice.create_room(**{"preset": "public_chat", "name": "大厅", **settings})
    await crowd(one, room_id)
    return alice, room_id


class Gate:
    """Answers about the state of rooms wait here until it is opened."""

    def __init__(self, network: Network) -> None:
        self._carry = network.carry
        self._opened = asyncio.Event()
        network.carry = self._wait  # type: ignore[method-assign]

    async def _wait(self, origin: str, request: SentRequest) -> OutboundAnswer:
        if "/v1/state" in request.url:
            await self._opened.wait()
        return await self._carry(origin, request)

    def open(self) -> None:
        self._opened.set()


def is_partial(server: FederatedServer, room_id: str) -> bool:
    return server.homeserver.rooms.live.partial.find(room_id) is not None


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what is under way, also where a database works in another thread."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it does not happen")


async def until_whole(server: FederatedServer, room_id: str, *others: FederatedServer) -> None:
    """Wait until the room is whole and what waited for that was received, and let time pass meanwhile."""
    for _ in range(5_000):
        if not is_partial(server, room_id) and room_id not in server.federation.completion._tasks:
            return
        for _ in range(20):
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)  # a database may work in another thread
        for clock in {one.clock for one in (server, *others)}:
            await clock.advance(1)
    raise AssertionError("the room does not become whole")


async def same_rooms(one: FederatedServer, two: FederatedServer, room_id: str) -> None:
    """Both servers know the same of a room, in memory and in the database."""
    await settle(one, two)
    ours, theirs = [await server.homeserver.rooms.live.get(room_id) for server in (one, two)]
    assert ours.state_ids == theirs.state_ids
    assert {user: value for user, value in ours.members.items() if value == "join"} == {
        user: value for user, value in theirs.members.items() if value == "join"
    }
    assert (ours.joined_count, ours.servers) == (theirs.joined_count, theirs.servers)
    for server in (one, two):
        live = server.homeserver.rooms.live
        known = dict((await live.get(room_id)).state_ids)
        live.forget(room_id)
        assert (await live.get(room_id)).state_ids == known
