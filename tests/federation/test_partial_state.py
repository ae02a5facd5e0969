"""Joining big rooms: the user reads and writes at once, the members follow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from homeserver.outbound.client import OutboundAnswer
from homeserver.rooms.live_room import MEMBER
from homeserver.rooms.pipeline import Draft
from homeserver.storage.database import Database
from tests.support.databases import open_in_memory
from tests.support.federation import FederatedServer, Network, open_federated, settle
from tests.support.outbound import SentRequest
from tests.support.server import User

MEMBERS = 60
LAZY = '{"room":{"state":{"lazy_load_members":true}}}'


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


@pytest.fixture
def gate(network: Network) -> Gate:
    return Gate(network)


def is_partial(server: FederatedServer, room_id: str) -> bool:
    return server.homeserver.rooms.live.partial.find(room_id) is not None


async def until_whole(server: FederatedServer, room_id: str, *others: FederatedServer) -> None:
    for _ in range(300):
        if not is_partial(server, room_id) and room_id not in server.federation.completion._tasks:
            return
        for _ in range(20):
            await asyncio.sleep(0)
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


async def test_user_reads_and_writes_a_big_room_before_its_members_are_here(
    gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    alice, room_id = await big_room(one)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    assert is_partial(two, room_id)
    section = (await bob.sync(filter=LAZY))["rooms"]["join"][room_id]
    names = {event["type"]: event["content"] for event in section["state"]["events"]}
    assert names["m.room.name"] == {"name": "大厅"}
    said = await bob.say(room_id, "你好")
    await settle(one, two)
    page = await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["event_id"] == said
    told = await alice.say(room_id, "welcome")
    await settle(one, two)
    page = await bob.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["event_id"] == told
    gate.open()
    await until_whole(two, room_id)
    await same_rooms(one, two, room_id)
    members = await bob.get(f"/rooms/{room_id}/members")
    assert len(members["chunk"]) == MEMBERS + 2


async def test_client_that_wants_all_members_is_told_of_the_room_when_they_are_here(
    gate: Gate, one: FederatedServer, two: FederatedServer
) -> None:
    alice, room_id = await big_room(one)
    bob = await two.register("bob")
    lazy, eager = await bob.get("/sync", filter=LAZY), await bob.get("/sync")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    await alice.say(room_id, "before")
    await settle(one, two)
    lazy = await bob.sync(filter=LAZY, since=lazy["next_batch"])
    assert lazy["rooms"]["join"][room_id]["summary"]["m.joined_member_count"] < MEMBERS
    eager = await bob.sync(since=eager["next_batch"])
    assert room_id not in eager.get("rooms", {}).get("join", {})
    assert room_id not in (await bob.get("/sync")).get("rooms", {}).get("join", {})
    gate.open()
    await until_whole(two, room_id)
    section = (await bob.sync(filter=LAZY, since=lazy["next_batch"]))["rooms"]["join"][room_id]
    assert section["summary"]["m.joined_member_count"] == MEMBERS + 2
    assert not section["timeline"]["events"]
    for body in (await bob.sync(since=eager["next_batch"]), await bob.get("/sync")):
        section = body["rooms"]["join"][room_id]
        events = section["state"]["events"] + section["timeline"]["events"]
        assert len({event["state_key"] for event in events if event["type"] == MEMBER}) == MEMBERS + 2
    changed = (await bob.sync(since=eager["next_batch"]))["device_lists"]["changed"]
    assert len(changed) >= MEMBERS


async def test_members_are_waited_for_and_not_for_ever(gate: Gate, one: FederatedServer, two: FederatedServer) -> None:
    _, room_id = await big_room(one)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    waiting = asyncio.ensure_future(bob.request("GET", f"/rooms/{room_id}/members"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    await two.clock.advance(60)
    assert (await waiting).status == 503
    asked = [
        asyncio.ensure_future(bob.request("GET", f"/rooms/{room_id}/{what}"))
        for what in ("members", "joined_members", "state", "state/m.room.member/@member7:one.test")
    ]
    kick = {"user_id": "@member8:one.test"}
    asked.append(asyncio.ensure_future(bob.request("POST", f"/rooms/{room_id}/kick", kick)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not any(one.done() for one in asked)
    name = await bob.get(f"/rooms/{room_id}/state/m.room.name")
    assert name == {"name": "大厅"}
    gate.open()
    await until_whole(two, room_id)
    assert [(await one).status for one in asked] == [200, 200, 200, 200, 403]
    assert len((await asked[1]).json["joined"]) == MEMBERS + 2


async def test_completion_goes_on_after_a_restart(network: Network, gate: Gate, one: FederatedServer) -> None:
    alice, room_id = await big_room(one)
    db: Database = open_in_memory()
    two = await open_federated(network, "two.test", db)
    bob = await two.register("bob")
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    said = await bob.say(room_id, "before the restart")
    await settle(one, two)
    await two.federation.stop()
    gate.open()
    again = await open_federated(network, "two.test", db, signing_key=two.homeserver.settings.signing_key)
    await until_whole(again, room_id)
    await same_rooms(one, again, room_id)
    page = await alice.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["event_id"] == said


async def test_crash_between_the_writes_of_a_state_loses_nothing(
    network: Network, one: FederatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, room_id = await big_room(one)
    db: Database = open_in_memory()
    two = await open_federated(network, "two.test", db)
    bob = await two.register("bob")
    monkeypatch.setattr("homeserver.rooms.importing.IN_A_WRITE", 10)
    written = 0
    real = two.homeserver.rooms.room_import._add_outliers

    async def crash_later(room: str, judged: Any) -> None:
        nonlocal written
        written += 1
        if written > 3:
            await asyncio.Event().wait()  # it will never come to the rest
        await real(room, judged)

    monkeypatch.setattr(two.homeserver.rooms.room_import, "_add_outliers", crash_later)
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    for _ in range(200):
        await asyncio.sleep(0)
    assert written == 4
    await two.federation.stop()
    again = await open_federated(network, "two.test", db, signing_key=two.homeserver.settings.signing_key)
    await until_whole(again, room_id)
    await same_rooms(one, again, room_id)


async def test_other_servers_are_asked_when_the_resident_is_gone(
    network: Network, one: FederatedServer, two: FederatedServer
) -> None:
    _, room_id = await big_room(one)
    three = await open_federated(network, "three.test")
    carol, bob = await three.register("carol"), await two.register("bob")
    await carol.post(f"/join/{room_id}", {}, via="one.test")
    await until_whole(three, room_id)
    gate = Gate(network)
    await bob.post(f"/join/{room_id}", {}, via="one.test")
    # Nobody but the resident server knows of the join, and it is gone.
    network.lost = lambda origin, request: origin == "one.test" or "//one.test/" in request.url
    gate.open()
    await until_whole(two, room_id)
    await same_rooms(two, three, room_id)
    said = await bob.say(room_id, "the others are still here")
    await settle(two, three)
    page = await carol.get(f"/rooms/{room_id}/messages", dir="b", limit=1)
    assert page["chunk"][0]["event_id"] == said
